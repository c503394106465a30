import type { Config, PolicyConfig } from '../config/index.ts';
import type { Clock, Logger, Metrics } from '../core/index.ts';
import {
  createCompiledPolicies,
  createPolicySnapshots,
  type DataDirectory,
  type PolicyHistoryStore,
} from '../datastore/index.ts';
import {
  createPolicyEngine,
  pathSource,
  type ActivationGate,
  type PathSourceOptions,
  type PolicyEngine,
  type RegoProgram,
  type SnapshotSource,
} from '../policy/index.ts';
import type { PolicySources } from './policy-sources.ts';

/** Undefined where every policy is a path: then its modules need not be loaded before the policies are. */
export async function openPolicySources(
  context: { readonly config: Config; readonly clock: Clock; readonly logger: Logger },
  own: { readonly metrics: Metrics; readonly directory: DataDirectory; readonly program: RegoProgram },
): Promise<PolicySources | undefined> {
  const policies = [...(context.config.authz?.policies.values() ?? [])];
  if (policies.every(({ bundle }) => bundle === undefined)) return undefined;
  const { createPolicySources } = await import('./policy-sources.ts');
  return createPolicySources(context, own);
}

/** The engine of the gate, which keeps what it compiles in the data directory; undefined without a gate. */
export function createPolicies(
  context: { readonly config: Config; readonly clock: Clock; readonly logger: Logger },
  own: {
    readonly metrics: Metrics;
    readonly directory: DataDirectory;
    /** What compiles and reads bundles. */
    readonly program: RegoProgram;
    /** Of the policies that come from elsewhere. */
    readonly sources: PolicySources | undefined;
    /** What came into force before; it opens while the first policy is read. */
    readonly history: Promise<PolicyHistoryStore>;
  },
): PolicyEngine | undefined {
  const { config, clock, logger } = context;
  const { authz } = config;
  const { program } = own;
  if (authz === undefined) return undefined;
  // They are loaded in this order: one that decides waits for none that does not, and one that is here for none that is not.
  const policies = [...authz.policies].map(([name, policy]) => {
    const path = own.sources?.all.get(name) ?? pathSource(policy.path ?? '', { clock, program, ...rules(policy) });
    return { name, ...policy, path, givesWay: 'shadowOf' in policy, showsSnapshots: policy.offload !== undefined };
  });
  const engine = createPolicyEngine({
    policies: policies.toSorted((one, other) => turnOf(one) - turnOf(other)),
    evalTimeoutMs: authz.evalTimeoutMs,
    regoProgram: program,
    ...(authz.httpSend === undefined ? {} : { httpSend: authz.httpSend }),
    cache: createCompiledPolicies(own.directory, { policies: authz.policies.keys() }),
    memory: {
      history: {
        list: async (policy) => await (await own.history).list(policy),
        append: async (event) => await (await own.history).append(event),
      },
      snapshots: createPolicySnapshots(own.directory, { policies: authz.policies.keys() }),
    },
    ...activationGate(context),
    clock,
    logger: logger.child({ room: 'policy' }),
    metrics: own.metrics,
  });
  own.sources?.follow(engine.status);
  return engine;
}

function turnOf(policy: { readonly path: SnapshotSource; readonly shadowOf?: string }): number {
  return (policy.shadowOf === undefined ? 0 : 2) + (policy.path.status === undefined ? 0 : 1);
}

/** Imported when it is needed: at the start policies have the processor. */
function activationGate({ config: { decisionLog }, logger }: { readonly config: Config; readonly logger: Logger }): {
  readonly activationGate?: ActivationGate;
} {
  if (decisionLog === undefined) return {};
  const options = { folder: decisionLog.folder, logger: logger.child({ room: 'evidence' }) };
  return {
    activationGate: {
      async replay(question) {
        const { createActivationReplay } = await import('../evidence/index.ts');
        return await createActivationReplay(options).replay(question);
      },
    },
  };
}

function rules({ verify }: PolicyConfig): Pick<PathSourceOptions, 'verify'> {
  return verify === undefined ? {} : { verify };
}
