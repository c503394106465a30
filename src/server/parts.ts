import { join } from 'node:path';
import {
  createAttestor,
  createPeerTracker,
  createUnixAttestor,
  openKernel,
  type Attestor,
  type PeerTracker,
} from '../attestation/index.ts';
import { createAuthority, createDiskKeyManager, type Authority } from '../authority/index.ts';
import type { Config } from '../config/index.ts';
import { noAudit, type Clock, type Logger, type Metrics } from '../core/index.ts';
import type { DataDirectory, Datastore } from '../datastore/index.ts';
import { createIdentitySource, type IdentitySource } from '../identity/index.ts';
import { createPeerVerifier, type PeerVerifier } from '../peer/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import { createRegistry, type Registry } from '../registration/index.ts';

/** Everything the listeners are made of. */
export interface ServerParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracker: PeerTracker;
  readonly attestor: Attestor;
  readonly identities: IdentitySource;
  readonly registry: Registry;
  readonly peers: PeerVerifier;
  readonly policies: PolicyEngine | undefined;
}

/** Makes every part and loads what must be there at the start. Throws what the parts throw. */
export async function createParts(
  context: { readonly config: Config; readonly clock: Clock; readonly logger: Logger },
  own: {
    readonly metrics: Metrics;
    readonly directory: DataDirectory;
    readonly datastore: Datastore;
    readonly policies: PolicyEngine | undefined;
  },
): Promise<{ readonly parts: ServerParts; readonly authority: Authority }> {
  const { config, clock } = context;
  const { metrics, policies } = own;
  const room = (name: string): Logger => context.logger.child({ room: name });
  const authority = await openAuthority(context, own);
  const registry = createRegistry({
    ...(config.entriesFile === undefined ? {} : { file: config.entriesFile }),
    trustDomain: config.trustDomain,
    clock,
    logger: room('registration'),
    metrics,
  });
  await registry.load();
  const tracker = createPeerTracker(openKernel());
  const parts: ServerParts = {
    config,
    clock,
    logger: context.logger,
    metrics,
    tracker,
    attestor: createAttestor({
      tracker,
      attestors: [createUnixAttestor(config.attestation.unix)],
      allowWithoutPid: config.attestation.unix.allowWithoutPid,
      logger: room('attestation'),
      metrics,
      audit: noAudit,
      clock,
    }),
    identities: createIdentitySource({
      issuer: authority,
      bundle: authority.bundle,
      entries: registry.snapshot,
      clock,
      logger: room('identity'),
    }),
    registry,
    peers: createPeerVerifier({ bundle: authority.bundle, clock }),
    policies,
  };
  return { parts, authority };
}

async function openAuthority(
  context: { readonly config: Config; readonly clock: Clock; readonly logger: Logger },
  own: { readonly metrics: Metrics; readonly directory: DataDirectory; readonly datastore: Datastore },
): Promise<Authority> {
  const { config, clock } = context;
  const logger = context.logger.child({ room: 'authority' });
  const keyManager = await createDiskKeyManager({
    directory: join(own.directory.path, 'keys'),
    encryption: { kind: 'none' },
    logger,
  });
  return await createAuthority({
    ...config.authority,
    upstream: undefined,
    trustDomain: config.trustDomain,
    documents: own.datastore.documents,
    issued: own.datastore.issued,
    keyManager,
    clock,
    logger,
    metrics: own.metrics,
  });
}
