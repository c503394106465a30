import { systemClock } from '../../core/index.ts';
import { replay, type ReplayReport } from '../../evidence/index.ts';
import { openPolicy, pathSource } from '../../policy/index.ts';
import { logGaps, openDecisionLog, type RecordCommandOptions } from '../decision-log.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { ReplayFlags } from '../groups/policy-records.ts';
import { formatReplayReport, replayReportJson } from '../replay-view.ts';

/** `policy replay` */
export async function replayPolicy(options: ReplayFlags & RecordCommandOptions): Promise<ExitCode> {
  const { policy: path, entrypoint, name, samples, output, terminal } = options;
  const { signal } = new AbortController();
  await using policy = await openPolicy({ path: pathSource(path, { clock: systemClock }), entrypoint, signal });
  const records = openDecisionLog(options, signal);
  const report = await replay(records, policy, { signal, samples, ...(name === undefined ? {} : { policy: name }) });
  const verdict = judge(report, options);
  const gaps = logGaps(records.counts);
  const shown = { report, digest: policy.digest, verdict, gaps };
  terminal.out(output === 'json' ? `${JSON.stringify(replayReportJson(shown))}\n` : formatReplayReport(shown));
  return verdict === undefined ? EXIT.done : EXIT.failed;
}

/** Why the policy does not pass; undefined when it does. What nobody could try has not passed. */
function judge(report: ReplayReport, { maxChanged, minReplayable }: ReplayFlags): string | undefined {
  const { replayed, changed, shareReplayable } = report;
  if (changed > maxChanged) return `${changed} decisions would change, and ${maxChanged} may`;
  if (replayed === 0) return 'no decision could be replayed';
  if (100 * shareReplayable < minReplayable) return `less than ${minReplayable} % of the decisions could be replayed`;
  return undefined;
}
