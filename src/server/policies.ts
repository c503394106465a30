import type { Config } from '../config/index.ts';
import type { Clock, Logger, Metrics } from '../core/index.ts';
import { createCompiledPolicies, type DataDirectory } from '../datastore/index.ts';
import { createPolicyEngine, type PolicyEngine } from '../policy/index.ts';

/** The engine of the gate, which keeps what it compiles in the data directory; undefined without a gate. */
export function createPolicies(
  context: { readonly config: Config; readonly clock: Clock; readonly logger: Logger },
  own: { readonly metrics: Metrics; readonly directory: DataDirectory },
): PolicyEngine | undefined {
  const { config, clock, logger } = context;
  const { authz } = config;
  if (authz === undefined) return undefined;
  // They are loaded in this order: one that decides waits for none that does not.
  const policies = [...authz.policies].map(([name, policy]) => ({ name, ...policy, givesWay: 'shadowOf' in policy }));
  return createPolicyEngine({
    policies: policies.toSorted((one, other) => Number('shadowOf' in one) - Number('shadowOf' in other)),
    evalTimeoutMs: authz.evalTimeoutMs,
    ...(authz.httpSend === undefined ? {} : { httpSend: authz.httpSend }),
    cache: createCompiledPolicies(own.directory, { policies: authz.policies.keys() }),
    clock,
    logger: logger.child({ room: 'policy' }),
    metrics: own.metrics,
  });
}
