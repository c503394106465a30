import type { Evaluation } from './evaluation.ts';

/** Why a request is denied. The set is closed: it is a metric label and part of records. */
export type DenyReason =
  | 'policy_denied'
  | 'undefined_decision'
  | 'wrong_type'
  | 'evaluation_error'
  | 'evaluation_timeout'
  | 'overloaded'
  | 'canceled'
  | 'no_policy'
  | 'not_active';

/** The answer to one check request. Whatever is not an allow with `effect: 'allow'` is a deny. */
export type Decision = AllowDecision | DenyDecision;

export interface AllowDecision {
  readonly effect: 'allow';
  /** Name of the policy that decided. */
  readonly policy: string;
  /** Digest of the snapshot that decided, sha256 in hex. */
  readonly digest: string;
}

export interface DenyDecision {
  readonly effect: 'deny';
  readonly reason: DenyReason;
  readonly policy: string;
  /** Absent when no snapshot took part: no such policy, or none active. */
  readonly digest?: string;
  /** What Rego or the evaluator said, for the log; it may name parts of the policy and never goes to the caller. */
  readonly detail?: string;
}

/** Whether the deny means that no decision could be made (`authz.on_error` applies) rather than that policy said no. */
export function isFailure(reason: DenyReason): boolean {
  return reason !== 'policy_denied';
}

/** Turns what the evaluator gave into a decision: the boolean `true` allows, everything else denies. */
export function decide(source: { readonly policy: string; readonly digest: string }, evaluation: Evaluation): Decision {
  const { policy, digest } = source;
  const deny = (reason: DenyReason, detail?: string): DenyDecision => ({
    effect: 'deny',
    reason,
    policy,
    digest,
    ...(detail === undefined ? {} : { detail }),
  });
  switch (evaluation.kind) {
    case 'value':
      if (evaluation.value === true) return { effect: 'allow', policy, digest };
      if (evaluation.value === false) return deny('policy_denied');
      return deny('wrong_type', `the decision is ${nameType(evaluation.value)}, not a boolean`);
    case 'undefined':
      return deny('undefined_decision');
    case 'error':
      return deny('evaluation_error', evaluation.message);
    case 'timeout':
      return deny('evaluation_timeout');
    case 'overloaded':
      return deny('overloaded');
    case 'canceled':
      return deny('canceled');
    default:
      return denyUnknown(evaluation, deny);
  }
}

/** Takes `never`: a new kind of evaluation without a case above does not compile, and would deny if it came. */
function denyUnknown(_evaluation: never, deny: (reason: DenyReason, detail: string) => DenyDecision): DenyDecision {
  return deny('evaluation_error', 'the evaluation ended in an unknown way');
}

function nameType(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
