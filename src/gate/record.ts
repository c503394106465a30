import type { Logger, Metrics } from '../core/index.ts';
import type { CheckOutcome, CheckSources } from './check.ts';
import { describeUnverified } from './identity-input.ts';

/** Counts a check that was answered, and logs it. */
export function record(
  outcome: CheckOutcome,
  decisionId: string,
  context: {
    /** As performance.now() has it. */
    readonly startedAt: number;
    readonly options: Pick<CheckSources, 'access'> & { readonly logger: Logger; readonly metrics: Metrics };
  },
): void {
  const { logger, metrics, access } = context.options;
  const seconds = (performance.now() - context.startedAt) / 1000;
  const reason = outcome.kind === 'allow' ? '' : outcome.reason;
  // What somebody may not ask for is not counted as asked.
  const policy = access.policies.has(outcome.policy) && reason !== 'policy_not_allowed' ? outcome.policy : '';
  metrics.count('svidgate_authz_decisions_total', { policy, outcome: outcome.kind, reason });
  metrics.observe('svidgate_authz_decision_seconds', { policy }, seconds);
  const peer = outcome.identity?.peer;
  const fields = {
    decision_id: decisionId,
    policy: outcome.policy,
    duration_ms: Math.round(seconds * 1e6) / 1000,
    ...(peer?.verified === true ? { spiffe_id: peer.spiffeId, serial: peer.serial } : {}),
  };
  if (outcome.kind === 'allow') return logger.debug({ ...fields, decision: 'allow' }, 'request allowed');
  const detail = 'detail' in outcome ? outcome.detail : undefined;
  const unverified = outcome.identity === undefined ? '' : describeUnverified(outcome.identity);
  const why = [reason, detail, unverified === '' ? undefined : `not verified: ${unverified}`]
    .filter(Boolean)
    .join(': ');
  if (outcome.kind === 'unenforced') {
    return logger.debug({ ...fields, decision: 'allow', reason: why }, 'request allowed: its policy is not enforced');
  }
  if (outcome.kind === 'dry_run') {
    return logger.info({ ...fields, decision: 'allow', reason: why }, 'request allowed by a dry run');
  }
  if (outcome.kind === 'deny') logger.info({ ...fields, decision: 'deny', reason: why }, 'request denied');
  else logger.warn({ ...fields, decision: 'deny', reason: why }, 'request denied: no decision could be made');
}
