import {
  createAttestor,
  createPeerTracker,
  openKernel,
  type Attestor,
  type PeerTracker,
  type WorkloadAttestor,
} from '../attestation/index.ts';
import type { Revocations } from '../authority/index.ts';
import type { Config } from '../config/index.ts';
import { combine, derive, type Clock, type Logger, type Metrics, type ReadonlyWatchable } from '../core/index.ts';
import type { Datastore } from '../datastore/index.ts';
import { EnvoyTable } from '../discovery/index.ts';
import { openPolicyEvidence, type PolicyEvidence } from '../evidence/index.ts';
import { openForeignBundles, type ForeignBundleSet } from '../federation/index.ts';
import { createIdentitySource, WorkloadExits, type IdentitySource } from '../identity/index.ts';
import type { OffloadEvidenceParts } from './offload-evidence.ts';
import type { LiveOffload } from '../offload/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import { createRegistry, type Registry } from '../registration/index.ts';
import type { ForeignBundles, TrustDomain } from '../spiffe/index.ts';
import { createAttestors } from './attestors.ts';
import { openRevocations, type PartsContext, type ServerAudit } from './authority-parts.ts';
import { openDecisionLog } from './decision-log.ts';
import type { DecisionLog } from './decision-log-report.ts';
import { openEnvoySecrets, type EnvoySecrets } from './envoy-secrets.ts';
import { createGateIdentity, type GateIdentity } from './gate-identity.ts';
import { openOffload } from './offload.ts';
import { openSigner, type Signer } from './signer.ts';

/** Everything the listeners are made of. */
export interface ServerParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly audit: ServerAudit;
  readonly datastore: Datastore;
  readonly signer: Signer;
  readonly revocations: Revocations;
  readonly foreignBundles: ForeignBundleSet;
  readonly tracker: PeerTracker;
  readonly attestors: readonly WorkloadAttestor[];
  readonly attestor: Attestor;
  readonly identities: IdentitySource;
  /** Set when SVIDs are revoked as their holders end. */
  readonly exits: WorkloadExits | undefined;
  readonly registry: Registry;
  /** Who sends requests to the gate; undefined without one. */
  readonly gateIdentity: GateIdentity | undefined;
  readonly policies: PolicyEngine | undefined;
  /** Of policies that do not decide, or not yet; undefined without a gate. */
  readonly evidence: PolicyEvidence | undefined;
  /** Of all decisions of the gate; undefined when they are not recorded. */
  readonly decisionLog: DecisionLog | undefined;
  /** What each connected Envoy holds. */
  readonly streams: EnvoyTable;
  readonly secrets: EnvoySecrets;
  /** What Envoys decide by themselves; undefined while no policy has `offload: on`. */
  readonly offload: LiveOffload | undefined;
  /** What they log of it; undefined without that, or when decisions are not recorded. */
  readonly offloadEvidence: OffloadEvidenceParts | undefined;
}

/** Makes every part and loads what must be there at the start. Throws what the parts throw. */
export async function createParts(context: PartsContext, policies: PolicyEngine | undefined): Promise<ServerParts> {
  const { config, clock, metrics, audit, datastore } = context;
  const room = (name: string): Logger => context.logger.child({ room: name });
  const { ackTimeoutMs } = config.sds;
  const streams = new EnvoyTable({ clock, logger: room('sds'), metrics, ackTimeoutMs });
  const revocations = await openRevocations(context);
  const signer = await openSigner(context, { revocations, acknowledgements: streams });
  const { foreignBundles, registry } = await openRegistration(context);
  const tracker = createPeerTracker(openKernel());
  const attestors = createAttestors(config.attestation, clock);
  const { allowWithoutPid } = config.attestation.unix;
  const trust = { bundle: signer.bundle, foreignBundles: allForeignBundles(signer, foreignBundles) };
  const exits = config.revokesOnWorkloadExit
    ? watchExits(tracker, revocations, { clock, logger: room('identity') })
    : undefined;
  const identities = createIdentitySource({
    issuer: signer.issuer,
    tainted: signer.tainted,
    ...trust,
    revocations: signer.withdrawn,
    entries: registry.snapshot,
    audit,
    clock,
    logger: room('identity'),
  });
  const callerIdentities = exits?.over(identities) ?? identities;
  const parts = {
    config,
    clock,
    logger: context.logger,
    metrics,
    audit,
    datastore,
    signer,
    revocations,
    foreignBundles,
    tracker,
    attestors,
    attestor: createAttestor({ ...context, tracker, attestors, allowWithoutPid, logger: room('attestation') }),
    identities: callerIdentities,
    exits,
    registry,
    gateIdentity: createGateIdentity(context, { ...trust, intermediates: signer.intermediates, revocations, signer }),
    policies,
    evidence: await openEvidence(context, policies),
    decisionLog: await openDecisionLog(context),
    streams,
    secrets: await openEnvoySecrets(context, { identities: callerIdentities, policies }),
    offload: await openOffload(context, { ...trust, policies, signer, revocations, registry }),
  };
  return { ...parts, offloadEvidence: await openEvidenceOf(parts) };
}

async function openEvidenceOf(parts: Omit<ServerParts, 'offloadEvidence'>): Promise<OffloadEvidenceParts | undefined> {
  if (parts.offload === undefined) return undefined;
  const { openOffloadEvidence } = await import('./offload-evidence.ts');
  return await openOffloadEvidence(parts, parts.offload);
}

function openEvidence(
  { config, clock, logger, metrics, datastore }: PartsContext,
  policies: PolicyEngine | undefined,
): Promise<PolicyEvidence> | undefined {
  if (config.authz === undefined || policies === undefined) return undefined;
  const trials = [...config.authz.policies].map(([name, policy]) => ({ name, ...policy }));
  const store = datastore.shadow;
  return openPolicyEvidence({ trials, policies, store, clock, logger: logger.child({ room: 'evidence' }), metrics });
}

/** Those that came with the identities, and those of the operator. */
function allForeignBundles(
  { foreignBundles }: Signer,
  { bundles }: ForeignBundleSet,
): ReadonlyWatchable<ForeignBundles> {
  return combine(foreignBundles, bundles, (given, set) => new Map([...given, ...set]));
}

/** Has an SVID revoked when the last process that was given it has ended. */
function watchExits(
  tracker: PeerTracker,
  revocations: Revocations,
  own: { readonly clock: Clock; readonly logger: Logger },
): WorkloadExits {
  return new WorkloadExits({
    ...own,
    observe: (pid) => tracker.observe(pid),
    revoke: (serial) =>
      revocations.revoke({ target: { kind: 'serial', serial, holderEnded: true }, reason: 'cessation_of_operation' }),
  });
}

/** Foreign bundles and entries, which name their trust domains. */
async function openRegistration(
  context: PartsContext,
): Promise<{ readonly foreignBundles: ForeignBundleSet; readonly registry: Registry }> {
  const { config, clock, metrics, audit, datastore } = context;
  const foreignBundles = await openForeignBundles({
    trustDomain: config.trustDomain,
    store: datastore.bundles,
    folder: config.bundlesFolder,
    audit,
    clock,
    logger: context.logger.child({ room: 'federation' }),
    metrics,
  });
  const registry = createRegistry({
    ...(config.entriesFile === undefined ? {} : { file: config.entriesFile }),
    store: datastore.entries,
    trustDomain: config.trustDomain,
    foreignTrustDomains: derive(foreignBundles.bundles, (bundles): ReadonlySet<TrustDomain> => new Set(bundles.keys())),
    audit,
    clock,
    logger: context.logger.child({ room: 'registration' }),
    metrics,
  });
  await registry.load();
  return { foreignBundles, registry };
}
