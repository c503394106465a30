import type { PolicyReport } from '../endpoints/admin/index.ts';
import type { ServerParts } from './parts.ts';

type Report = Pick<PolicyReport, 'offload'>;

/** Empty where Envoys decide nothing of the policy. */
export function offloadReport({ offload, config, streams }: ServerParts, policy: string): Report {
  const report = offload?.report(policy);
  const { authz } = config;
  if (report === undefined || authz === undefined) return {};
  const { withheld: withheldRules, followers: _, tookMs: _tookMs, resource, ...rest } = report;
  const held = streams
    .streams()
    .flatMap(({ resources }) => resources.filter(({ kind, name }) => kind === 'offload' && name === resource));
  return {
    offload: {
      ...rest,
      withheldRules,
      leaseMs: authz.offloadLeaseMs,
      envoys: held.length,
      envoysBehind: held.filter(({ acknowledged }) => !acknowledged).length,
    },
  };
}

/** What an operator should know of it, each one sentence. */
export function offloadWarnings({ offload, config }: ServerParts): readonly string[] {
  if (offload === undefined) return [];
  const nothing = [...(config.authz?.policies.keys() ?? [])].flatMap((name) => {
    const { state, reason = '' } = offload.report(name) ?? {};
    return state === 'nothing' ? [`policy ${name} is not offloaded: ${reason}`] : [];
  });
  return [...nothing, ...offload.notes()];
}
