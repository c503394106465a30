import { readAnswer, type Decision } from '../../policy/index.ts';
import type { DecisionRecord } from '../records/decision-record.ts';
import { compareAnswers, type Comparison, type ShadowAnswer } from '../shadow-answer.ts';

/** What a policy answered when the record was made. */
export type RecordedAnswer =
  | {
      readonly kind: 'known';
      readonly answer: ShadowAnswer;
      /** Whether headers, status, body and metadata are known beside it; they are not where the result was masked. */
      readonly withEffects: boolean;
    }
  /** No policy was asked: the request ended before, or its policy is not enforced. */
  | { readonly kind: 'undecided' }
  /** A policy was asked and had no time to answer: nothing to compare with. */
  | { readonly kind: 'unanswered'; readonly reason: string };

/** Failures that say nothing about the input. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'evaluation_timeout',
  'overloaded',
  'canceled',
  'no_policy',
  'not_active',
]);

export function recordedAnswer(record: DecisionRecord): RecordedAnswer {
  const { outcome, reason } = record.svidgate;
  if (TRANSIENT.has(reason)) return { kind: 'unanswered', reason };
  if (record.path === undefined || outcome === 'unenforced') return { kind: 'undecided' };
  if (isTouched(record, '/result')) return maskedAnswer(record);
  if (record.result === undefined) {
    return { kind: 'known', answer: { kind: 'failure', reason: reason || 'undefined_decision' }, withEffects: true };
  }
  const answer = readAnswer(record.result);
  switch (answer.kind) {
    case 'allow':
      return { kind: 'known', answer: { ...answer, reason: '' }, withEffects: true };
    case 'deny':
      return { kind: 'known', answer: { ...answer, reason: 'policy_denied' }, withEffects: true };
    case 'wrong_type':
      return { kind: 'known', answer: { kind: 'failure', reason: 'wrong_type' }, withEffects: true };
  }
}

/** By what was told to Envoy. */
function maskedAnswer({ svidgate: { outcome, reason } }: DecisionRecord): RecordedAnswer {
  const known = (answer: ShadowAnswer): RecordedAnswer => ({ kind: 'known', answer, withEffects: false });
  if (outcome === 'allow' || reason === 'reply_refused') return known({ kind: 'allow', reason: '' });
  if (reason === 'policy_denied') return known({ kind: 'deny', reason });
  return known({ kind: 'failure', reason });
}

function isTouched({ erased = [], masked = [] }: DecisionRecord, root: string): boolean {
  return [...erased, ...masked].some((pointer) => pointer === root || pointer.startsWith(`${root}/`));
}

export function answerOf(decision: Decision): ShadowAnswer {
  if (decision.effect === 'allow') return { kind: 'allow', reason: '', ...effectsOf(decision.effects) };
  const { reason } = decision;
  return reason === 'policy_denied'
    ? { kind: 'deny', reason, ...effectsOf(decision.effects) }
    : { kind: 'failure', reason };
}

/** How an answer differs from the one before it. */
export type AnswerChange =
  /** It did not allow, and does now. */
  | 'would_allow'
  /** It allowed, and denies now. */
  | 'would_deny'
  /** Allowed or denied as before, with other headers, status, body or metadata. */
  | 'other_effects'
  /** It gave a decision, and gives none now: undefined, an error, a value of another type. */
  | 'would_fail'
  /** It gave no decision, and denies now. */
  | 'failed_before';

export function changeOf(
  before: RecordedAnswer & { readonly kind: 'known' },
  after: ShadowAnswer,
): AnswerChange | undefined {
  const live = before.answer;
  if (live.kind === 'failure' && after.kind === 'failure') return undefined;
  if (!before.withEffects && live.kind === after.kind) return undefined;
  return CHANGES[compareAnswers(live, after)];
}

const CHANGES: Readonly<Partial<Record<Comparison, AnswerChange>>> = {
  would_allow: 'would_allow',
  would_deny: 'would_deny',
  other_effects: 'other_effects',
  candidate_failed: 'would_fail',
  live_failed: 'failed_before',
};

function effectsOf<T>(effects: T | undefined): { readonly effects?: T } {
  return effects === undefined ? {} : { effects };
}
