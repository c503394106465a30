import type { Revocations } from '../authority/index.ts';
import type { AuthzConfig } from '../config/index.ts';
import type { ReadonlyWatchable } from '../core/index.ts';
import type { LiveOffload, OffloadedPolicy } from '../offload/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import type { Registry } from '../registration/index.ts';
import type { ForeignBundles, TrustDomain } from '../spiffe/index.ts';
import type { PartsContext } from './authority-parts.ts';
import type { Signer } from './signer.ts';

export interface OffloadParts {
  readonly policies: PolicyEngine | undefined;
  readonly signer: Signer;
  /** Those of the operator and those that came with the identities. */
  readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
  readonly revocations: Pick<Revocations, 'snapshot'>;
  readonly registry: Pick<Registry, 'snapshot'>;
}

/** What Envoys decide without a call; undefined, and nothing of it loaded, while no policy has `offload: on`. */
export async function openOffload(context: PartsContext, parts: OffloadParts): Promise<LiveOffload | undefined> {
  const { authz } = context.config;
  const { policies: engine } = parts;
  if (authz === undefined || engine === undefined) return undefined;
  const offloaded = [...authz.policies].flatMap(([name, { offload }]) =>
    offload === undefined ? [] : { name, ...offload },
  );
  if (offloaded.length === 0) return undefined;
  const offload = await import('../offload/index.ts');
  const { clock, metrics, regoProgram: program } = context;
  const logger = context.logger.child({ room: 'offload' });
  const policies = offloaded.map(({ name, fastDeny }): OffloadedPolicy => {
    const obstacle = offload.offloadObstacle(authz, name);
    if (obstacle !== undefined) logger.warn({ policy: name, reason: obstacle }, 'policy is not offloaded');
    // What it denies is let through, and Envoy knows of no such thing.
    const denies = fastDeny && !authz.dryRun;
    return { name, fastDeny: denies, ...(obstacle === undefined ? {} : { obstacle }) };
  });
  const gate = offload.gateFactsOf(authz);
  const peers = offload.followPeerFacts({
    bundle: parts.signer.bundle,
    foreignBundles: parts.foreignBundles,
    revocations: parts.revocations.snapshot,
    ...(authz.denyUnregistered ? { entries: parts.registry.snapshot } : {}),
    known: parts.registry.snapshot,
    shaken: shakenBefore(parts.signer, clock.now(), context.config.trustDomain),
    clock,
  });
  const live = offload.createLiveOffload({
    policies,
    snapshots: (policy) => engine.snapshots(policy),
    translate: ({ name, fastDeny }, snapshot, signal) =>
      offload.translatePolicy({
        policy: name,
        snapshot,
        entrypoint: entrypointOf(authz, name),
        program,
        gate,
        fastDeny,
        signal,
      }),
    facts: peers.facts,
    mayHave: (policy, callerIds) => offload.mayAskAttested(authz, policy, callerIds),
    notes: () => peers.notes(),
    clock,
    logger,
    metrics,
  });
  return {
    ...live,
    [Symbol.dispose]() {
      live[Symbol.dispose]();
      peers[Symbol.dispose]();
    },
  };
}

function entrypointOf(authz: AuthzConfig, policy: string): string {
  return authz.policies.get(policy)?.entrypoint ?? '';
}

/** Our own, where an authority was revoked that has not ended: connections that were made by its SVIDs may live. */
function shakenBefore({ own }: Signer, now: number, trustDomain: TrustDomain): readonly TrustDomain[] {
  const slots = own?.authority.slots.value ?? [];
  return slots.some(({ kind, state, notAfter }) => kind === 'x509' && state === 'revoked' && now < notAfter)
    ? [trustDomain]
    : [];
}
