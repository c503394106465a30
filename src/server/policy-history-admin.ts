import type { AuditCaller, AuditEvent } from '../core/index.ts';
import type { PolicyHistoryAdmin } from '../endpoints/admin/index.ts';
import type { OperatorRequest } from '../policy/index.ts';
import type { ServerParts } from './parts.ts';
import { policyReport } from './policy-report.ts';

type PolicyChange = Extract<AuditEvent, { event: 'policy_changed' }>['change'];

/** What came into force, and the way back; nothing without a gate. */
export function policyHistoryAdmin(parts: ServerParts): { readonly policyHistory?: PolicyHistoryAdmin } {
  const { policies, audit } = parts;
  if (policies === undefined) return {};
  const request = (change: PolicyChange, about: Subject, caller: AuditCaller): OperatorRequest => ({
    by: `uid:${caller.uid ?? 'unknown'}`,
    ...reasonOf(about),
    beforeChange: (digest) =>
      audit.record({
        event: 'policy_changed',
        method: change === 'released' ? 'ReleasePolicy' : 'RollBackPolicy',
        change,
        caller,
        result: 'success',
        policy: about.policy,
        digest,
        ...reasonOf(about),
      }),
  });
  return {
    policyHistory: {
      names: () => [...policies.status.value.keys()],
      history: (policy) => policies.history(policy),
      async rollBack({ digest, skipsReplay, ...about }, caller, signal) {
        const target = digest === undefined ? {} : { digest };
        const rollback = { ...request('rolled_back', about, caller), ...target, skipsReplay };
        await policies.rollback(about.policy, rollback, signal);
        return policyReport(parts, about.policy);
      },
      async release(about, caller, signal) {
        await policies.release(about.policy, request('released', about, caller), signal);
        return policyReport(parts, about.policy);
      },
    },
  };
}

interface Subject {
  readonly policy: string;
  readonly reason?: string;
}

function reasonOf({ reason }: Subject): { readonly reason?: string } {
  return reason === undefined ? {} : { reason };
}
