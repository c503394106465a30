import type { ShadowAnswer } from '../evidence/index.ts';
import { effectsOf, toOutcome, type CheckOutcome, type CheckSources } from './check.ts';

/** Hands a request that was decided to the policies that are tried on it. It costs the answer nothing. */
export function showOutcome(outcome: CheckOutcome, decisionId: string, { trials, rules }: CheckSources): void {
  const { shown, policy } = outcome;
  if (shown === undefined || trials === undefined) return;
  trials.observe({
    ...shown,
    policy,
    decisionId,
    live: answerOf(outcome),
    answerOf: (decision) => candidateAnswer(toOutcome(decision, { policy }, { ...rules, isDryRun: false })),
  });
}

/** What its policy said, also where a dry run lets the request through. */
function answerOf(outcome: CheckOutcome): ShadowAnswer {
  switch (outcome.kind) {
    case 'allow':
      return { kind: 'allow', reason: '', ...effectsOf(outcome.effects) };
    case 'unenforced':
      return { kind: 'allow', reason: outcome.reason };
    case 'dry_run':
    case 'deny':
      return { kind: 'deny', reason: outcome.reason, ...effectsOf(outcome.effects) };
    case 'failure':
      return { kind: 'failure', reason: outcome.reason };
  }
}

/** A candidate that asks for what Envoy must not be told is not ready. */
function candidateAnswer(outcome: CheckOutcome): ShadowAnswer {
  const answer = answerOf(outcome);
  return answer.reason === 'reply_refused' ? { kind: 'failure', reason: answer.reason } : answer;
}
