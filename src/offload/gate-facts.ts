import type { AuthzConfig, GateListenerConfig } from '../config/index.ts';
import { matchesSpiffeId, type SpiffeId } from '../spiffe/index.ts';
import type { GateFacts } from './translated-policy.ts';

/** What the gate does before it asks a policy, by its configuration. */
export function gateFactsOf({ identity, ...authz }: AuthzConfig): GateFacts {
  const { jwtSvid, jwtProviders, xfccTrusted } = identity;
  const places = [
    ...(jwtSvid === undefined ? [] : [jwtSvid.place]),
    ...[...jwtProviders.values()].map((each) => each.place),
  ];
  return {
    parsesBodies: !authz.skipRequestBodyParse,
    tokenHeaders: [...new Set(places.map(({ header }) => header))],
    hops: xfccTrusted,
    guardsPaths: authz.pathGuard !== 'off',
  };
}

/** Why nothing of a policy may be offloaded, whatever it says; undefined where something may be. */
export function offloadObstacle(authz: AuthzConfig, policy: string): string | undefined {
  const shadows = [...authz.policies].filter(([, { shadowOf }]) => shadowOf === policy).map(([name]) => name);
  if (shadows.length > 0) return `shadow ${shadows.join(', ')} is tried on its requests`;
  if (authz.pathGuard !== 'off') return `the path guard, ${authz.pathGuard}, looks at paths first`;
  if (!attestedListeners(authz).some((listener) => serves(listener, policy))) {
    return 'no listener of the gate on a Unix socket serves it';
  }
  return undefined;
}

/** Whether an attested caller with these SPIFFE IDs may ask the gate for the policy. */
export function mayAskAttested(authz: AuthzConfig, policy: string, callerIds: readonly SpiffeId[]): boolean {
  return attestedListeners(authz).some(
    ({ policies, callers }) =>
      policies.has(policy) &&
      (callers === undefined ||
        callers.some((some) => some.policies.has(policy) && callerIds.some((id) => matchesSpiffeId(some.pattern, id)))),
  );
}

/** Over HTTP the gate sees no certificates: what Envoy knows is more than it does. */
function attestedListeners({ listeners }: AuthzConfig): readonly GateListenerConfig[] {
  return listeners.filter(({ listen }) => listen.kind === 'unix');
}

function serves({ policies, callers }: GateListenerConfig, policy: string): boolean {
  return policies.has(policy) && (callers?.some((some) => some.policies.has(policy)) ?? true);
}
