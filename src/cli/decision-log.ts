import { parseDuration } from '../config/index.ts';
import { readRecords, type ReadCounts, type RecordReading } from '../evidence/index.ts';
import { wrongUsage } from './command-line.ts';
import { createProgress } from './progress.ts';
import type { OutputFormat, Terminal } from './terminal.ts';
import { thousands } from './thousands.ts';

/** Flags of the commands that read decision logs. */
export interface DecisionLogFlags {
  readonly from: readonly string[];
  readonly name?: string;
  readonly since?: string;
  readonly until?: string;
}

export interface RecordCommandOptions extends DecisionLogFlags {
  readonly output: OutputFormat;
  readonly terminal: Terminal;
}

/** The records that the flags ask for, with progress on standard error. */
export function openDecisionLog(options: RecordCommandOptions, signal: AbortSignal): RecordReading {
  const { from, since, until, terminal } = options;
  const say = createProgress(terminal);
  return readRecords(from, {
    signal,
    ...(since === undefined ? {} : { since: parseWhen(since, '--since') }),
    ...(until === undefined ? {} : { until: parseWhen(until, '--until') }),
    onProgress: ({ readBytes, totalBytes, records }) =>
      say(
        () => `${thousands(records)} records, ${Math.floor((100 * readBytes) / Math.max(1, totalBytes))} % of the log`,
      ),
  });
}

/** Epoch milliseconds of `2026-11-22T10:00:00Z`, or of so long ago: `24h`. */
function parseWhen(text: string, flag: string): number {
  if (/^\d{4}-/.test(text)) {
    const at = Date.parse(text);
    if (!Number.isNaN(at)) return at;
  } else {
    try {
      return Date.now() - parseDuration(text);
    } catch {
      // said below
    }
  }
  throw wrongUsage(`${flag} takes a time such as 2026-11-22T10:00:00Z, or how long ago: 24h`);
}

/** What of the log could not be read, or is not in it, one line each; empty when nothing is missing. */
export function logGaps({ damaged, missing, losses }: Readonly<ReadCounts>): readonly string[] {
  return [
    ...(damaged === 0 ? [] : [`${thousands(damaged)} lines of the log are damaged`]),
    ...(missing === 0 ? [] : [`${thousands(missing)} records are missing: segments of the log were removed`]),
    ...[...losses].map(([reason, { records, unknown }]) => {
      const more = unknown === 0 ? '' : `${records === 0 ? '' : ' and '}an unknown number`;
      return `${records === 0 ? '' : thousands(records)}${more} of decisions were not recorded: ${reason}`;
    }),
  ];
}
