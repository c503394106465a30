import type { Findings } from './findings.ts';
import type { LogSummary } from './log-lines.ts';
import { slopePerHour } from './slope.ts';
import type { Vitals } from './soak-server.ts';

/** How much may grow. */
export const LIMITS = {
  /** Of the second half of a run that is long enough to tell. Caches of what was verified fill for hours: about 12 MB/h. */
  heapMbPerHour: 40,
  residentMbPerHour: 240,
  /** Of a shorter run, from its middle to its end. */
  heapMb: 15,
  residentMb: 250,
  /** The least of the second half beside the least of the first. */
  descriptors: 10,
  threads: 2,
  logBytesPerLine: 1000,
  logLinesPerChange: 60,
} as const;

/** A slope of less time says more of the machine than of the server. */
const LONG_ENOUGH_MS = 9 * 60_000;

/** Of a server that is given broken policies and keeps its keys in files. */
const EXPECTED_WARNINGS: readonly string[] = [
  'policy refused, the last good policy stays in force',
  'policy mistake',
  'private keys are stored without encryption',
];

export interface Growth {
  readonly heapMbPerHour: number;
  readonly residentMbPerHour: number;
}

/** Of the second half. */
export function growthOf(vitals: readonly Vitals[]): Growth {
  const half = secondHalf(vitals);
  return {
    heapMbPerHour: slopePerHour(leastOf(half.map(({ atMs, heapMb }) => ({ atMs, value: heapMb })))),
    residentMbPerHour: slopePerHour(leastOf(half.map(({ atMs, residentMb }) => ({ atMs, value: residentMb })))),
  };
}

/** How many samples in a row have one that counts: what is let go of once a minute goes up and down by 10 MB. */
const GROUP = 4;

function leastOf<T extends { readonly value: number }>(points: readonly T[]): readonly T[] {
  if (points.length < 3 * GROUP) return points;
  return Array.from({ length: Math.floor(points.length / GROUP) }, (_, group) =>
    points.slice(group * GROUP, (group + 1) * GROUP).reduce((least, one) => (one.value < least.value ? one : least)),
  );
}

/** What is not as it must be; nothing when all is well. */
export function problemsOf(run: {
  readonly findings: Findings;
  readonly vitals: readonly Vitals[];
  readonly log: LogSummary;
}): readonly string[] {
  const { findings, vitals, log } = run;
  return [...answerProblems(findings), ...vitalProblems(vitals), ...logProblems(log, findings)];
}

function answerProblems(findings: Findings): readonly string[] {
  const problems: string[] = [];
  if (findings.wrong > 0) problems.push(`${findings.wrong} wrong answers`, ...findings.examples);
  const kinds = ['allow', 'deny', '400', '413'];
  const missing = kinds.filter((kind) => findings.sumOf(`answer ${kind}`) === 0);
  if (missing.length > 0) problems.push(`no answer was ${missing.join(', ')}`);
  return problems;
}

function vitalProblems(vitals: readonly Vitals[]): readonly string[] {
  const problems: string[] = [];
  const [first, second] = [vitals.slice(0, Math.floor(vitals.length / 2)), secondHalf(vitals)];
  const least = (half: readonly Vitals[], what: 'descriptors' | 'threads'): number =>
    Math.min(...half.map((one) => one[what]));
  for (const what of ['descriptors', 'threads'] as const) {
    const [before, after] = [least(first, what), least(second, what)];
    if (after > before + LIMITS[what]) problems.push(`${what} grew from ${before} to ${after}`);
  }
  const { heapMbPerHour, residentMbPerHour } = growthOf(vitals);
  const [begin, end] = [second[0]!, second.at(-1)!];
  if (end.atMs - begin.atMs >= LONG_ENOUGH_MS) {
    if (heapMbPerHour > LIMITS.heapMbPerHour) problems.push(`the heap grows by ${heapMbPerHour.toFixed(1)} MB/h`);
    if (residentMbPerHour > LIMITS.residentMbPerHour)
      problems.push(`resident memory grows by ${residentMbPerHour.toFixed(1)} MB/h`);
    return problems;
  }
  for (const what of ['heapMb', 'residentMb'] as const) {
    const grown = end[what] - begin[what];
    if (grown > LIMITS[what]) problems.push(`${what} grew by ${grown.toFixed(1)} from the middle of the run`);
  }
  return problems;
}

function logProblems({ bytes, lines, counts, warnings }: LogSummary, findings: Findings): readonly string[] {
  const problems: string[] = [];
  for (const [message, { count, example }] of warnings) {
    if (!EXPECTED_WARNINGS.includes(message)) problems.push(`${count} warnings ${message}, such as ${example}`);
  }
  const refused = counts.get('policy refused, the last good policy stays in force') ?? 0;
  const broken = findings.sumOf('change: policy broken');
  if (refused > broken) problems.push(`${refused} policies were refused, of ${broken} broken ones`);
  const denied = counts.get('request denied') ?? 0;
  if (denied > findings.requests) problems.push(`${denied} lines of denies for ${findings.requests} requests`);
  const other = lines - denied;
  const most = LIMITS.logLinesPerChange * (findings.sumOf('change:') + findings.sumOf('guest') + 100);
  if (other > most) problems.push(`${other} lines of other things in the log, more than ${most}`);
  if (bytes > lines * LIMITS.logBytesPerLine) problems.push(`${bytes} bytes of ${lines} lines in the log`);
  return problems;
}

function secondHalf(vitals: readonly Vitals[]): readonly Vitals[] {
  return vitals.slice(Math.floor(vitals.length / 2));
}
