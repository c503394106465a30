import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  createAuthority,
  createDiskKeyManager,
  createDiskUpstream,
  createMemoryKeyManager,
  createPkcs11KeyManager,
  createRevocations,
  createVaultClient,
  createVaultPkiUpstream,
  createVaultTransitKeyManager,
  readEncryptionKey,
  type Authority,
  type AuthorityOptions,
  type KeyManager,
  type Revocations,
  type UpstreamAuthority,
} from '../authority/index.ts';
import type { Config, KeyManagerConfig, UpstreamConfig, VaultConfig } from '../config/index.ts';
import type { AuditLog, Clock, Logger, Metrics } from '../core/index.ts';
import type { DataDirectory, Datastore } from '../datastore/index.ts';
import type { RegoProgram } from '../policy/index.ts';
import type { TrustDomain } from '../spiffe/index.ts';
import type { OpenAuditLog } from '../telemetry/index.ts';

/** The audit log, and whether the last event could be written. */
export interface ServerAudit extends AuditLog {
  readonly state: () => OpenAuditLog['state'];
}

/** What rooms have in common while they are made. */
export interface PartsContext {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly audit: ServerAudit;
  readonly directory: DataDirectory;
  readonly datastore: Datastore;
  /** OPA's compiler, shared. */
  readonly regoProgram: RegoProgram;
  /** Closed after everything that uses them. */
  readonly stores: AsyncDisposableStack;
}

/** Our own authority with its keys. */
export interface OwnAuthority {
  readonly authority: Authority;
  readonly keyManager: KeyManager;
}

/** What was revoked before. Throws `datastore_failed`: an unknown revocation must not be taken for none. */
export function openRevocations(context: PartsContext): Promise<Revocations> {
  const { clock, audit, datastore } = context;
  const logger = context.logger.child({ room: 'authority' });
  return createRevocations({ store: datastore.revocations, issued: datastore.issued, clock, logger, audit });
}

/** The authority with its keys and what is above it. Throws what these throw. */
export async function openAuthority(
  context: PartsContext,
  own: {
    readonly revocations: Revocations;
    readonly acknowledgements: NonNullable<AuthorityOptions['acknowledgements']>;
  },
): Promise<OwnAuthority> {
  const { config, clock, metrics, audit, datastore, stores } = context;
  const { revocations, acknowledgements } = own;
  const logger = context.logger.child({ room: 'authority' });
  const { keyManager: keyManagerConfig, upstream: upstreamConfig, ...settings } = config.authority;
  const keyManager = await openKeyManager(keyManagerConfig, { ...context, trustDomain: config.trustDomain, logger });
  stores.defer(() => keyManager.close());
  const authority = await createAuthority({
    ...settings,
    trustDomain: config.trustDomain,
    documents: datastore.documents,
    issued: datastore.issued,
    revocations: revocations.snapshot,
    acknowledgements,
    keyManager,
    upstream: upstreamConfig === undefined ? undefined : await openUpstream(upstreamConfig, { ...context, logger }),
    audit,
    clock,
    logger,
    metrics,
  });
  return { authority, keyManager };
}

/** Also for `svidgate restore`, which puts keys back without a server. */
export async function openKeyManager(
  config: KeyManagerConfig,
  context: {
    readonly trustDomain: TrustDomain;
    readonly directory: DataDirectory;
    readonly clock: Clock;
    readonly logger: Logger;
  },
): Promise<KeyManager> {
  const { logger, trustDomain } = context;
  switch (config.kind) {
    case 'memory':
      return createMemoryKeyManager();
    case 'disk': {
      const { encryptionKey } = config;
      return createDiskKeyManager({
        directory: join(context.directory.path, 'keys'),
        encryption:
          encryptionKey === undefined ? { kind: 'none' } : { kind: 'key', key: await readEncryptionKey(encryptionKey) },
        logger,
      });
    }
    case 'pkcs11':
      return createPkcs11KeyManager({
        module: config.module,
        token: { label: config.tokenLabel },
        pin: config.pin,
        keyLabelPrefix: `${config.keyPrefix}/${trustDomain}`,
        logger,
      });
    case 'vault':
      return createVaultTransitKeyManager({
        client: vaultClient(config.vault, context),
        mount: config.mount,
        keyPrefix: `${config.keyPrefix}-${tagOf(trustDomain)}`,
      });
  }
}

/** Names of transit keys have no dots of ours, and two trust domains in one engine must never take each other's keys for their own. */
function tagOf(trustDomain: TrustDomain): string {
  return createHash('sha256').update(trustDomain).digest('hex').slice(0, 16);
}

async function openUpstream(config: UpstreamConfig, context: PartsContext): Promise<UpstreamAuthority> {
  const { clock, logger, metrics } = context;
  switch (config.kind) {
    case 'disk': {
      const { certificateFile, keyFile, bundleFile } = config;
      return createDiskUpstream({ certificateFile, keyFile, bundleFile, clock, logger, metrics });
    }
    case 'vault':
      return createVaultPkiUpstream({
        client: vaultClient(config.vault, context),
        mount: config.mount,
        clock,
        logger,
        metrics,
      });
  }
}

function vaultClient(
  config: VaultConfig,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): ReturnType<typeof createVaultClient> {
  return createVaultClient({ ...config, clock, logger });
}
