import {
  describeError,
  fileChanges,
  SvidgateError,
  Watchable,
  type AuditCaller,
  type AuditLog,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { BundleStore } from '../datastore/index.ts';
import type { ForeignBundles, TrustBundle, TrustDomain } from '../spiffe/index.ts';
import { createBundleFolder } from './bundle-folder.ts';

export interface ForeignBundleSetOptions {
  /** Our own; its bundle is never foreign. */
  readonly trustDomain: TrustDomain;
  readonly store: BundleStore;
  /** Folder with a file for each trust domain. */
  readonly folder?: string | undefined;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A foreign bundle with what owns it. A file never changes a bundle of the API, and the API none of a file. */
export interface SourcedBundle {
  readonly bundle: TrustBundle;
  readonly source: 'file' | 'api';
}

/** Bundles of foreign trust domains: those set by the API, and those of a watched folder. */
export interface ForeignBundleSet {
  readonly bundles: ReadonlyWatchable<ForeignBundles>;
  /** In the order of trust domains. */
  list(): readonly SourcedBundle[];
  /** Kept before it returns. Throws `invalid_request` for our own trust domain, `conflict` when a file owns the domain's bundle. */
  set(bundle: TrustBundle, by: AuditCaller): Promise<void>;
  /** Throws `not_found`, or `conflict` when a file owns it. */
  delete(trustDomain: TrustDomain, by: AuditCaller): Promise<void>;
  /** Watches the folder until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** Reads the store and the folder. Throws `datastore_failed`. */
export async function openForeignBundles(options: ForeignBundleSetOptions): Promise<ForeignBundleSet> {
  const set = new BundleSet(options);
  await set.load();
  return set;
}

class BundleSet implements ForeignBundleSet {
  readonly bundles = new Watchable<ForeignBundles>(new Map());
  readonly #options: ForeignBundleSetOptions;
  readonly #readFolder: () => Promise<ForeignBundles>;
  #ofApi: ForeignBundles = new Map();
  #ofFiles: ForeignBundles = new Map();
  /** Changes by the API happen one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ForeignBundleSetOptions) {
    this.#options = options;
    const { folder } = options;
    this.#readFolder =
      folder === undefined ? () => Promise.resolve(this.#ofFiles) : createBundleFolder({ ...options, folder });
  }

  async load(): Promise<void> {
    const stored = await this.#options.store.list();
    this.#ofApi = new Map(stored.map((bundle) => [bundle.trustDomain, bundle]));
    this.#ofFiles = await this.#readFolder();
    this.#publish();
  }

  list(): readonly SourcedBundle[] {
    return [...this.bundles.value.values()].map((bundle) => ({
      bundle,
      source: this.#ofApi.has(bundle.trustDomain) ? 'api' : 'file',
    }));
  }

  set(bundle: TrustBundle, by: AuditCaller): Promise<void> {
    return this.#change('set', bundle.trustDomain, by, async () => {
      if (bundle.trustDomain === this.#options.trustDomain) {
        throw new SvidgateError('invalid_request', `${bundle.trustDomain} is our own trust domain`);
      }
      await this.#options.store.put(bundle);
      this.#ofApi = new Map([...this.#ofApi, [bundle.trustDomain, bundle]]);
    });
  }

  delete(trustDomain: TrustDomain, by: AuditCaller): Promise<void> {
    return this.#change('deleted', trustDomain, by, async () => {
      if (!this.#ofApi.has(trustDomain)) {
        throw new SvidgateError('not_found', `there is no bundle of the trust domain ${trustDomain}`);
      }
      await this.#options.store.delete(trustDomain);
      this.#ofApi = new Map([...this.#ofApi].filter(([name]) => name !== trustDomain));
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { folder, clock, logger } = this.#options;
    if (folder === undefined) return;
    for await (const _ of fileChanges(folder, { clock, signal })) {
      this.#ofFiles = await this.#readFolder();
      this.#publish();
      logger.debug({ count: this.bundles.value.size }, 'bundle folder read');
    }
  }

  /** One change, recorded whether it succeeds or not; what cannot be recorded does not happen. */
  #change(
    change: 'set' | 'deleted',
    trustDomain: TrustDomain,
    ...[by, act]: readonly [AuditCaller, () => Promise<void>]
  ): Promise<void> {
    const run = async (): Promise<void> => {
      const event = {
        event: 'bundle_changed',
        change,
        trust_domain: trustDomain,
        method: 'bundle',
        caller: by,
      } as const;
      try {
        if (this.#ofFiles.has(trustDomain) && !this.#ofApi.has(trustDomain)) {
          throw new SvidgateError('conflict', `the bundle of ${trustDomain} is a file's: change it there`);
        }
        this.#options.audit.record({ ...event, result: 'success' });
        await act();
      } catch (error) {
        this.#options.audit.record({ ...event, result: 'failure', failure_reason: describeError(error) });
        throw error;
      }
      this.#options.logger.info({ trust_domain: trustDomain, reason: change }, 'foreign bundle changed');
      this.#publish();
    };
    const done = this.#last.then(run, run);
    this.#last = done.catch(() => undefined);
    return done;
  }

  #publish(): void {
    const all = new Map([...this.#ofFiles, ...this.#ofApi].sort(([one], [other]) => (one < other ? -1 : 1)));
    for (const trustDomain of this.#ofFiles.keys()) {
      if (!this.#ofApi.has(trustDomain)) continue;
      const reason = 'the API has set one: delete it there first';
      this.#options.logger.warn({ trust_domain: trustDomain, reason }, 'bundle of a file passed over');
    }
    if (!sameContent(all, this.bundles.value)) this.bundles.set(all);
  }
}

function sameContent(one: ForeignBundles, other: ForeignBundles): boolean {
  if (one.size !== other.size) return false;
  return [...one].every(([trustDomain, bundle]) => {
    const before = other.get(trustDomain);
    return bundle === before || (before !== undefined && sameBundle(bundle, before));
  });
}

/** By their bytes: to parse the certificates would take longer than the change itself. */
function sameBundle(one: TrustBundle, other: TrustBundle): boolean {
  return (
    one.sequence === other.sequence &&
    one.refreshHintSeconds === other.refreshHintSeconds &&
    sameList(one.x509Authorities, other.x509Authorities, sameBytes) &&
    sameList(
      one.jwtAuthorities,
      other.jwtAuthorities,
      (key, before) => key.keyId === before.keyId && sameBytes(key.publicKey, before.publicKey),
    )
  );
}

const sameBytes = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

function sameList<T>(one: readonly T[], other: readonly T[], isSame: (item: T, before: T) => boolean): boolean {
  return (
    one.length === other.length &&
    one.every((item, index) => {
      const before = other[index];
      return before !== undefined && isSame(item, before);
    })
  );
}
