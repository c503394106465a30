import type { Clock } from '../../core/index.ts';
import type { Evaluator } from '../evaluator.ts';

/** Far above any `authz.eval_timeout` that a service could live with, so that a busy machine refuses nothing. */
const TRIAL_LIMIT_MS = 10_000;
const EMPTY_INPUT = new TextEncoder().encode('{}');

/**
 * Evaluates the policy for an empty input: why it does not pass, or undefined. That there is no value, or none that is
 * complete, says nothing: what it looks at is not there. A text or a number would be no decision for any input.
 */
export async function runTrial(
  evaluator: Evaluator,
  own: { readonly clock: Clock; readonly asksNetwork: boolean },
): Promise<string | undefined> {
  const evaluation = await evaluator.evaluate(EMPTY_INPUT, {
    deadline: own.clock.now() + TRIAL_LIMIT_MS,
    ...(own.asksNetwork ? { nd: {} } : {}), // which it then does not
  });
  if (evaluation.kind === 'timeout') return `an empty input is not decided within ${TRIAL_LIMIT_MS / 1000} s`;
  if (evaluation.kind !== 'value') return undefined;
  const { value } = evaluation;
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (typeof value === 'boolean' || isObject) return undefined;
  return 'the answer to an empty input is neither a boolean nor an object';
}
