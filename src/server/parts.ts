import {
  createAttestor,
  createPeerTracker,
  createUnixAttestor,
  openKernel,
  type Attestor,
  type PeerTracker,
} from '../attestation/index.ts';
import { createAuthority, type Authority } from '../authority/index.ts';
import type { Config } from '../config/index.ts';
import { noAudit, type Clock, type Logger, type Metrics } from '../core/index.ts';
import type { AuthorityJournal } from '../datastore/index.ts';
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
  own: { readonly metrics: Metrics; readonly journal: AuthorityJournal; readonly policies: PolicyEngine | undefined },
): Promise<{ readonly parts: ServerParts; readonly authority: Authority }> {
  const { config, clock } = context;
  const { metrics, journal, policies } = own;
  const room = (name: string): Logger => context.logger.child({ room: name });
  const authority = await createAuthority({
    trustDomain: config.trustDomain,
    journal,
    caTtlMs: config.authority.caTtlMs,
    x509SvidTtlMs: config.authority.x509SvidTtlMs,
    clock,
    logger: room('authority'),
    metrics,
  });
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
