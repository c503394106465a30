import { join } from 'node:path';
import {
  createAuthority,
  createDiskKeyManager,
  createRevocations,
  type Authority,
  type AuthorityOptions,
  type Revocations,
} from '../../src/authority/index.ts';
import { noAudit, noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { openDataDirectory, openSqliteDatastore, type Datastore } from '../../src/datastore/index.ts';
import { parseTrustDomain, type TrustDomain } from '../../src/spiffe/index.ts';

export const TRUST_DOMAIN: TrustDomain = parseTrustDomain('example.test');

export interface OpenAuthority extends AsyncDisposable {
  readonly authority: Authority;
  readonly revocations: Revocations;
  readonly datastore: Datastore;
}

/** A real authority on a real data directory, with keys on disk. */
export async function openAuthority(path: string, options: Partial<AuthorityOptions> = {}): Promise<OpenAuthority> {
  await using open = new AsyncDisposableStack();
  const { clock = systemClock, logger = silentLogger, audit = noAudit } = options;
  const directory = await openDataDirectory(path);
  open.defer(() => directory.close());
  const datastore = await openSqliteDatastore({ directory, clock, logger });
  open.defer(() => datastore.close());
  const keys = join(directory.path, 'keys');
  const keyManager = await createDiskKeyManager({ directory: keys, encryption: { kind: 'none' }, logger });
  open.defer(() => keyManager.close());
  const { revocations: store, issued, documents } = datastore;
  const revocations = await createRevocations({ store, issued, clock, logger, audit });
  const authority = await createAuthority({
    trustDomain: TRUST_DOMAIN,
    documents,
    issued,
    revocations: revocations.snapshot,
    keyManager,
    caTtlMs: 24 * 3600_000,
    x509SvidTtlMs: 3600_000,
    metrics: noMetrics,
    ...options,
    clock,
    logger,
    audit,
  });
  const closed = open.move();
  return { authority, revocations, datastore, [Symbol.asyncDispose]: () => closed.disposeAsync() };
}
