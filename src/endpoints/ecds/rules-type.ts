import type { ReadonlyWatchable } from '../../core/index.ts';
import type { ResourceType } from '../../discovery/index.ts';
import { EXTENSION_CONFIG_DISCOVERY_SERVICE, EXTENSION_CONFIG_TYPE_URL } from '../../proto/index.ts';
import type { RegistrySnapshot } from '../../registration/index.ts';
import type { SpiffeId } from '../../spiffe/index.ts';
import { watchCallerIds } from './caller-ids.ts';
import { FollowedRules, type FollowRulesOptions } from './follow-rules.ts';

export interface RulesTypeOptions extends FollowRulesOptions {
  readonly entries: ReadonlyWatchable<RegistrySnapshot>;
}

/** For those who cannot be told that rules have changed. */
export const NO_RULES: FollowRulesOptions['source'] = {
  follow: () => ({ set: undefined, [Symbol.dispose]: () => undefined }),
};

const { streamExtensionConfigs, deltaExtensionConfigs, fetchExtensionConfigs } = EXTENSION_CONFIG_DISCOVERY_SERVICE;

/**
 * Offloaded rules as a type of resources. A name that is none of a policy, or one that the caller may not ask for, is
 * answered as a policy is that offloads nothing.
 */
export function createRulesType({ entries, ...options }: RulesTypeOptions): ResourceType<readonly SpiffeId[]> {
  return {
    typeUrl: EXTENSION_CONFIG_TYPE_URL,
    service: {
      sotw: { name: 'StreamExtensionConfigs', path: streamExtensionConfigs.path },
      delta: { name: 'DeltaExtensionConfigs', path: deltaExtensionConfigs.path },
      fetch: { name: 'FetchExtensionConfigs', path: fetchExtensionConfigs.path },
    },
    unknownName: 'wait',
    subjects: ({ selectors }, signal) => watchCallerIds(entries, selectors, signal),
    follow: (_caller, onChange) => new FollowedRules(options, onChange),
    followFetched: (_caller, onChange) => new FollowedRules({ ...options, source: NO_RULES }, onChange),
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
