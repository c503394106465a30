import type { Logger } from '../../core/index.ts';
import type { ActivationGate, Candidate } from '../../policy/index.ts';
import type { DecisionRecord } from '../records/decision-record.ts';
import type { ReplayReport } from '../replay/replay-report.ts';
import { replay } from '../replay/replay.ts';
import { newestRecords } from './newest-records.ts';

export interface ActivationReplayOptions {
  /** Of the log of decisions. */
  readonly folder: string;
  readonly logger: Logger;
}

/** Kinds of changed requests that a refusal names, and decision ids of each. */
const MAX_EXAMPLES = 5;
const SAMPLES = 3;
/** Questions to the policy in force at once: it has requests to answer meanwhile. */
const IN_FORCE_AT_ONCE = 4;

/**
 * Makes the newest recorded decisions again with a policy that is to come into force. A decision that the policy in force
 * would make otherwise, too, has changed already, and counts no more.
 */
export function createActivationReplay({ folder, logger }: ActivationReplayOptions): ActivationGate {
  return {
    async replay({ candidate, inForce, limits, signal }) {
      const { policy, digest } = candidate;
      const records = await newestRecords(folder, { policy, limit: limits.records, signal });
      const ask = (some: readonly DecisionRecord[]): Promise<ReplayReport> => replayAll(some, candidate, signal);
      let report = await ask(records);
      if (report.changed > limits.maxChanged && inForce !== undefined)
        report = await ask(await unchanged(records, inForce, signal));
      const { replayed, changed, notReplayable } = report;
      const reason = `${replayed} recorded decisions made again, ${changed} changed, ${notReplayable} could not be made again`;
      logger[notReplayable > replayed ? 'warn' : 'info']({ policy, digest, reason }, 'recorded decisions tried');
      return { replayed, changed, notReplayable, examples: examplesOf(report) };
    },
  };
}

async function replayAll(
  records: Iterable<DecisionRecord>,
  policy: Candidate,
  signal: AbortSignal,
): Promise<ReplayReport> {
  return await replay(toAsync(records), policy, { samples: SAMPLES, signal });
}

/** Those that the policy answers as they were recorded. */
async function unchanged(
  records: readonly DecisionRecord[],
  policy: Candidate,
  signal: AbortSignal,
): Promise<readonly DecisionRecord[]> {
  const kept: DecisionRecord[] = [];
  for (let start = 0; start < records.length; start += IN_FORCE_AT_ONCE) {
    const some = records.slice(start, start + IN_FORCE_AT_ONCE);
    const reports = await Promise.all(some.map((record) => replayAll([record], policy, signal)));
    kept.push(...some.filter((_, index) => reports[index]?.changed === 0));
  }
  return kept;
}

function examplesOf({ changes }: ReplayReport): readonly string[] {
  return changes.slice(0, MAX_EXAMPLES).map(({ principal, method, route, before, after, count, samples }) => {
    const ids = samples.join(', ');
    return `${count} of ${principal}: ${method} ${route}, ${before} before and ${after} now, such as ${ids}`;
  });
}

async function* toAsync<T>(items: Iterable<T>): AsyncGenerator<T, void, void> {
  await Promise.resolve();
  yield* items;
}
