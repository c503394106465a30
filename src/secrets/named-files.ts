import { matchesSpiffeId, type SpiffeId, type SpiffeIdPattern } from '../spiffe/index.ts';
import { FileSecret, type FileSecretContext, type FileSecretOptions } from './file-secret.ts';
import { parseFileName } from './file-name.ts';
import type { FilePlace } from './read-beneath.ts';
import { caFile, certificateFiles } from './secret-files.ts';
import type { FollowedSecret, SecretContent } from './secret-store.ts';

/** A folder of which files may be asked for by name. */
export interface AllowedFolder {
  /** Absolute. */
  readonly folder: string;
  readonly allow: readonly SpiffeIdPattern[];
}

/** What a name stands for, and every list that the caller has to be on. */
interface FileRequest {
  readonly options: FileSecretOptions<SecretContent>;
  readonly allow: readonly (readonly SpiffeIdPattern[])[];
}

interface SharedFile {
  readonly secret: FileSecret<SecretContent>;
  /** For whom it was looked at first. */
  readonly owner: SpiffeId;
  followers: number;
  /** Runs while nobody follows it. */
  end: NodeJS.Timeout | undefined;
}

/** Names of files that are followed at once, for all callers together. */
const MAX_FOLLOWED = 10_000;
/** By one SPIFFE ID: names of files that are not there cost as much, and one workload must not take all places. */
const MAX_FOLLOWED_BY_ONE = 2000;
const TELL_AFTER_MS = 1000;
/** Else who asks for a file by turns would have it read and parsed at each. */
const LINGER_MS = 5000;

/**
 * Files by Istio's names. Only who may have a file makes us look at it: nobody else can learn whether it is there, or have
 * anything watched. All who follow one name share it, until the last of them has been gone for a while.
 */
export class NamedFiles {
  readonly #folders: readonly AllowedFolder[];
  readonly #context: FileSecretContext;
  readonly #lingerMs: number;
  readonly #followed = new Map<string, SharedFile>();
  readonly #counts = new Map<SpiffeId, number>();
  /** Those that found no place, in order. */
  readonly #waiting = new Set<() => void>();
  #isFullTold = false;
  #isTelling = false;

  constructor(folders: readonly AllowedFolder[], context: FileSecretContext, lingerMs: number = LINGER_MS) {
    this.#lingerMs = lingerMs;
    this.#folders = folders;
    this.#context = context;
  }

  /** Undefined for a name that is no name of files, or of one beneath no folder. */
  follow(name: string, onChange: () => void): FollowedSecret | undefined {
    const request = this.#requestOf(name);
    if (request === undefined) return undefined;
    let release: (() => void) | undefined;
    let shared: SharedFile | undefined;
    let isDisposed = false;
    const onPlace = (): void => onChange(); // a follower's own
    return {
      allows: (spiffeIds) => {
        const owner = firstOnEveryList(spiffeIds, request.allow);
        if (owner !== undefined && shared === undefined && !isDisposed) {
          shared = this.#acquire(name, request, owner);
          if (shared === undefined) this.#waiting.add(onPlace);
          else this.#waiting.delete(onPlace);
          release = shared?.secret.value.subscribe(onChange);
        }
        return owner !== undefined;
      },
      get content() {
        return shared?.secret.value.value;
      },
      [Symbol.dispose]: () => {
        isDisposed = true;
        this.#waiting.delete(onPlace);
        release?.();
        if (shared !== undefined) this.#release(name, shared);
        shared = undefined;
      },
    };
  }

  #requestOf(name: string): FileRequest | undefined {
    const parsed = parseFileName(name);
    if (parsed === undefined) return undefined;
    if (parsed.kind === 'file-root') {
      const ca = this.#placeOf(parsed.ca);
      return ca && { options: caFile(ca), allow: [ca.allow] };
    }
    const certificate = this.#placeOf(parsed.certificate);
    const privateKey = this.#placeOf(parsed.privateKey);
    if (certificate === undefined || privateKey === undefined) return undefined;
    return { options: certificateFiles(certificate, privateKey), allow: [certificate.allow, privateKey.allow] };
  }

  /** The innermost folder decides. One that is listed twice has both lists. */
  #placeOf(path: string): (FilePlace & { readonly allow: readonly SpiffeIdPattern[] }) | undefined {
    const around = this.#folders.filter(({ folder }) => path.startsWith(folder.endsWith('/') ? folder : `${folder}/`));
    const depth = Math.max(...around.map(({ folder }) => folder.length));
    const [innermost, ...others] = around.filter(({ folder }) => folder.length === depth);
    if (innermost === undefined) return undefined;
    const allow = [innermost, ...others].flatMap((one) => one.allow);
    const { folder } = innermost;
    return { folder, path, allow, others: this.#folders.map((one) => one.folder).filter((one) => one !== folder) };
  }

  #acquire(name: string, { options }: FileRequest, owner: SpiffeId): SharedFile | undefined {
    const shared = this.#followed.get(name) ?? this.#begin(name, options, owner);
    if (shared === undefined) return undefined;
    shared.followers += 1;
    clearTimeout(shared.end);
    return shared;
  }

  #begin(name: string, options: FileSecretOptions<SecretContent>, owner: SpiffeId): SharedFile | undefined {
    const count = this.#counts.get(owner) ?? 0;
    if (this.#followed.size >= MAX_FOLLOWED || count >= MAX_FOLLOWED_BY_ONE) {
      if (!this.#isFullTold) {
        const limit = count >= MAX_FOLLOWED_BY_ONE ? MAX_FOLLOWED_BY_ONE : MAX_FOLLOWED;
        const fields = { spiffe_id: owner, limit };
        this.#context.logger.warn(fields, 'too many files are asked for, further ones are not served');
      }
      this.#isFullTold = true;
      return undefined;
    }
    const shared = { secret: new FileSecret(options, this.#context), owner, followers: 0, end: undefined };
    this.#followed.set(name, shared);
    this.#counts.set(owner, count + 1);
    return shared;
  }

  #release(name: string, shared: SharedFile): void {
    shared.followers -= 1;
    if (shared.followers > 0) return;
    if (this.#lingerMs === 0) this.#end(name, shared);
    else shared.end = setTimeout(() => this.#end(name, shared), this.#lingerMs).unref();
  }

  #end(name: string, shared: SharedFile): void {
    this.#followed.delete(name);
    const left = (this.#counts.get(shared.owner) ?? 0) - 1;
    if (left > 0) this.#counts.set(shared.owner, left);
    else this.#counts.delete(shared.owner);
    if (this.#followed.size < MAX_FOLLOWED / 2) this.#isFullTold = false;
    shared.secret[Symbol.dispose]();
    this.#tellWaiting();
  }

  /** All that wait look again, but not at each place that becomes free. */
  #tellWaiting(): void {
    if (this.#waiting.size === 0 || this.#isTelling) return;
    this.#isTelling = true;
    const tellAll = (): void => {
      this.#isTelling = false;
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const tell of waiting) tell();
    };
    setTimeout(tellAll, TELL_AFTER_MS).unref();
  }
}

/** The first ID that is on all of them. */
function firstOnEveryList(
  spiffeIds: Iterable<SpiffeId>,
  lists: readonly (readonly SpiffeIdPattern[])[],
): SpiffeId | undefined {
  return [...spiffeIds].find((id) => lists.every((list) => list.some((pattern) => matchesSpiffeId(pattern, id))));
}
