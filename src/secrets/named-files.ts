import type { Logger } from '../core/index.ts';
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
  followers: number;
}

/** Names of files that are followed at once, for all callers together. */
const MAX_FOLLOWED = 10_000;

/**
 * Files by Istio's names. Only who may have a file makes us look at it: nobody else can learn whether it is there, or have
 * anything watched. All who follow one name share it, until the last of them is gone.
 */
export class NamedFiles {
  readonly #folders: readonly AllowedFolder[];
  readonly #context: FileSecretContext;
  readonly #followed = new Map<string, SharedFile>();
  #isFullTold = false;

  constructor(folders: readonly AllowedFolder[], context: FileSecretContext) {
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
    return {
      allows: (spiffeIds) => {
        const isAllowed = isOnEveryList(spiffeIds, request.allow);
        if (isAllowed && shared === undefined && !isDisposed) {
          shared = this.#acquire(name, request);
          release = shared?.secret.value.subscribe(onChange);
        }
        return isAllowed;
      },
      get content() {
        return shared?.secret.value.value;
      },
      [Symbol.dispose]: () => {
        isDisposed = true;
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
    return { folder: innermost.folder, path, allow };
  }

  #acquire(name: string, { options }: FileRequest): SharedFile | undefined {
    const shared = this.#followed.get(name) ?? this.#begin(name, options);
    if (shared !== undefined) shared.followers += 1;
    return shared;
  }

  #begin(name: string, options: FileSecretOptions<SecretContent>): SharedFile | undefined {
    if (this.#followed.size >= MAX_FOLLOWED) {
      tellFull(this.#context.logger, this.#isFullTold);
      this.#isFullTold = true;
      return undefined;
    }
    const shared = { secret: new FileSecret(options, this.#context), followers: 0 };
    this.#followed.set(name, shared);
    return shared;
  }

  #release(name: string, shared: SharedFile): void {
    shared.followers -= 1;
    if (shared.followers > 0) return;
    this.#followed.delete(name);
    this.#isFullTold = false;
    shared.secret[Symbol.dispose]();
  }
}

/** One and the same ID must be on all of them. */
function isOnEveryList(spiffeIds: Iterable<SpiffeId>, lists: readonly (readonly SpiffeIdPattern[])[]): boolean {
  return [...spiffeIds].some((id) => lists.every((list) => list.some((pattern) => matchesSpiffeId(pattern, id))));
}

function tellFull(logger: Logger, isTold: boolean): void {
  if (!isTold) logger.warn({ limit: MAX_FOLLOWED }, 'too many files are asked for, further ones are not served');
}
