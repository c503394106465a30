import { readAnswer, type AllowEffects, type DenyEffects } from './decision-effects.ts';
import type { Evaluation, NdBuiltinCache } from './evaluation.ts';
import type { InputNeeds } from './input-needs.ts';
import type { LogRules } from './log-rules.ts';

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
  /** What the policy asks for beyond the allow. */
  readonly effects?: AllowEffects;
  readonly evaluated?: EvaluatedDecision;
}

export interface DenyDecision {
  readonly effect: 'deny';
  readonly reason: DenyReason;
  readonly policy: string;
  /** Absent when no snapshot took part: no such policy, or none active. */
  readonly digest?: string;
  /** What Rego or the evaluator said, for the log; it may name parts of the policy and never goes to the caller. */
  readonly detail?: string;
  /** What the policy tells the client; with `policy_denied` only. */
  readonly effects?: DenyEffects;
  readonly evaluated?: EvaluatedDecision;
}

/** What a decision was made of; absent where no policy was asked. */
export interface EvaluatedDecision {
  /** What of the input the policy could look at, as JSON text in UTF-8. */
  readonly input: Uint8Array;
  /** Which part of the input that is. */
  readonly needs: InputNeeds;
  /** The value of the entrypoint; absent when there is none. */
  readonly value?: unknown;
  /** See Evaluation. */
  readonly nd?: NdBuiltinCache;
  readonly ndLost?: readonly string[];
  /** Decided before from the same values. */
  readonly cached: boolean;
  readonly entrypoint: string;
  /** What the policy says about the log of its decisions. */
  readonly logRules?: LogRules;
  /** What the policy's bundle calls itself. */
  readonly revision?: string;
}

/** What records of decisions by a snapshot follow. */
export interface PolicyRecording extends Pick<EvaluatedDecision, 'needs' | 'entrypoint' | 'logRules' | 'revision'> {
  readonly digest: string;
}

/** Whether the deny means that no decision could be made (`authz.on_error` applies) rather than that policy said no. */
export function isFailure(reason: DenyReason): boolean {
  return reason !== 'policy_denied';
}

/**
 * Turns what the evaluator gave into a decision: the boolean `true`, or an object whose `allowed` is `true` and whose
 * other fields are what they should be, allows; everything else denies.
 */
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
      return decideByValue(source, evaluation.value);
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

function decideByValue(source: { readonly policy: string; readonly digest: string }, value: unknown): Decision {
  const answer = readAnswer(value);
  switch (answer.kind) {
    case 'allow':
      return { effect: 'allow', ...source, ...withEffects(answer.effects) };
    case 'deny':
      return { effect: 'deny', reason: 'policy_denied', ...source, ...withEffects(answer.effects) };
    case 'wrong_type':
      return { effect: 'deny', reason: 'wrong_type', ...source, detail: answer.message };
  }
}

function withEffects<T>(effects: T | undefined): { readonly effects?: T } {
  return effects === undefined ? {} : { effects };
}

/** Takes `never`: a new kind of evaluation without a case above does not compile, and would deny if it came. */
function denyUnknown(_evaluation: never, deny: (reason: DenyReason, detail: string) => DenyDecision): DenyDecision {
  return deny('evaluation_error', 'the evaluation ended in an unknown way');
}
