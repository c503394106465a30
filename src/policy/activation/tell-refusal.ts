import { join } from 'node:path';
import type { Logger, Metrics } from '../../core/index.ts';
import type { PolicyProblem } from '../problem.ts';
import type { Refusal } from './pass-gates.ts';

export interface RefusalContext {
  /** Name of the policy. */
  readonly policy: string;
  /** Its source, which the paths of problems are below. */
  readonly description: string;
  /** Adds the policy's name. */
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** How many mistakes of one snapshot are logged, so that a broken file does not flood the log; status has all. */
const MAX_LOGGED_PROBLEMS = 20;

/** In the log and in the metrics. */
export function tellRefusal(
  { gate, message, problems }: Refusal,
  refused: { readonly digest?: string; /** Whether something stays in force. */ readonly isReload: boolean },
  context: RefusalContext,
): void {
  const { policy, logger, metrics } = context;
  metrics.count('svidgate_policy_activations_total', { policy, result: 'refused' });
  metrics.count('svidgate_policy_refusals_total', { policy, gate });
  if (refused.isReload) metrics.count('svidgate_reload_failures_total', { source: 'policy' });
  const outcome = refused.isReload ? 'the last good policy stays in force' : 'every request is denied';
  const { digest } = refused;
  logger.warn({ gate, reason: message, ...(digest === undefined ? {} : { digest }) }, `policy refused, ${outcome}`);
  logProblems(problems, 'policy mistake', context);
}

/** With their places. */
export function logProblems(
  problems: readonly PolicyProblem[],
  message: 'policy mistake' | 'policy warning',
  { logger, description }: Pick<RefusalContext, 'logger' | 'description'>,
): void {
  for (const { code, message: reason, file, line, column } of problems.slice(0, MAX_LOGGED_PROBLEMS)) {
    const place = file === '' ? {} : { file: join(description, file), line, column };
    logger.warn({ error_code: code, reason, ...place }, message);
  }
}
