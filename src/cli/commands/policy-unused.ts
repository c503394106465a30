import { grantUsage } from '../../evidence/index.ts';
import { pathSource, evaluateGrants } from '../../policy/index.ts';
import { systemClock } from '../../core/index.ts';
import { logGaps, openDecisionLog, type RecordCommandOptions } from '../decision-log.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { UnusedFlags } from '../groups/policy-records.ts';
import { formatUnused, unusedJson } from '../unused-view.ts';

/** `policy unused` */
export async function unusedGrants(options: UnusedFlags & RecordCommandOptions): Promise<ExitCode> {
  const { policy: path, entrypoint, name, output, terminal } = options;
  const { signal } = new AbortController();
  const snapshot = await pathSource(path, { clock: systemClock }).read(signal);
  await using grants = await (await evaluateGrants({ snapshot, entrypoint, signal })).open();
  const records = openDecisionLog(options, signal);
  const { digest } = snapshot;
  const report = await grantUsage(records, grants, { signal, digest, ...(name === undefined ? {} : { policy: name }) });
  const shown = { report, digest, gaps: logGaps(records.counts) };
  terminal.out(output === 'json' ? `${JSON.stringify(unusedJson(shown))}\n` : formatUnused(shown));
  return EXIT.done;
}
