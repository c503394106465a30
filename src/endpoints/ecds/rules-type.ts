import type { Logger, ReadonlyWatchable } from '../../core/index.ts';
import type { FollowedResources, FollowResources, ResourceType } from '../../discovery/index.ts';
import type { OffloadSource } from '../../offload/index.ts';
import { EXTENSION_CONFIG_DISCOVERY_SERVICE, EXTENSION_CONFIG_TYPE_URL } from '../../proto/index.ts';
import type { RegistrySnapshot } from '../../registration/index.ts';
import type { SpiffeId } from '../../spiffe/index.ts';
import { watchCallerIds } from './caller-ids.ts';
import type { RulesTrust } from './follow-rules.ts';

export interface RulesTypeOptions {
  /** Undefined while no policy is offloaded: nobody is answered, and what an Envoy has from before ends by itself. */
  readonly source: Pick<OffloadSource, 'follow'> | undefined;
  /** How long an Envoy may go by rules after it heard of us last. */
  readonly leaseMs: number;
  readonly entries: ReadonlyWatchable<Pick<RegistrySnapshot, 'match' | 'concerns'>>;
  readonly logger: Logger;
  readonly trust: RulesTrust;
}

type FollowIds = FollowResources<readonly SpiffeId[]>;

const { streamExtensionConfigs, deltaExtensionConfigs, fetchExtensionConfigs } = EXTENSION_CONFIG_DISCOVERY_SERVICE;

/**
 * Offloaded rules as a type of resources. A name that is none of a policy, or one that the caller may not ask for, is
 * answered as a policy is that offloads nothing.
 */
export async function createRulesType(options: RulesTypeOptions): Promise<ResourceType<readonly SpiffeId[]>> {
  return {
    typeUrl: EXTENSION_CONFIG_TYPE_URL,
    service: {
      sotw: { name: 'StreamExtensionConfigs', path: streamExtensionConfigs.path },
      delta: { name: 'DeltaExtensionConfigs', path: deltaExtensionConfigs.path },
      fetch: { name: 'FetchExtensionConfigs', path: fetchExtensionConfigs.path },
    },
    unknownName: 'wait',
    subjects: ({ selectors }, signal) => watchCallerIds(options.entries, selectors, signal),
    ...(await followersOf(options)),
    signals: {
      pushes: 'svidgate_offload_pushes_total',
      nacks: 'svidgate_offload_nacks_total',
      pushSeconds: 'svidgate_offload_push_seconds',
      pushedMessage: 'offload rules pushed',
      removedMessage: 'offload rules removed',
      refusedMessage: 'offload rules refused by envoy',
    },
  };
}

/** What rules are made of is loaded where there are any. */
async function followersOf({
  source,
  leaseMs,
  logger,
  trust,
}: RulesTypeOptions): Promise<{ readonly follow: FollowIds; readonly followFetched: FollowIds }> {
  if (source === undefined) return { follow: followNothing, followFetched: followNothing };
  const { FollowedRules } = await import('./follow-rules.ts');
  return {
    follow: (_caller, onChange) => new FollowedRules({ source, leaseMs, logger, trust }, onChange),
    followFetched: (_caller, onChange) => new FollowedRules({ source: NO_RULES, leaseMs, logger, trust }, onChange),
  };
}

/** For those who cannot be told that rules have changed. */
const NO_RULES: Pick<OffloadSource, 'follow'> = {
  follow: () => ({ set: undefined, [Symbol.dispose]: () => undefined }),
};

function followNothing(): FollowedResources<readonly SpiffeId[]> {
  return {
    ask: () => undefined,
    view: () => ({ isRegistered: true, lookup: () => ({ kind: 'unknown' }), all: () => [], isPending: false }),
    [Symbol.dispose]: () => undefined,
  };
}
