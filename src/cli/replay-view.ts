import type { AnswerChange, ReplayReport } from '../evidence/index.ts';
import { formatTable } from './table.ts';
import { thousands } from './thousands.ts';

export interface ShownReplay {
  readonly report: ReplayReport;
  /** Of the policy that was tried. */
  readonly digest: string;
  /** Why it does not pass. */
  readonly verdict: string | undefined;
  readonly gaps: readonly string[];
}

const CHANGES: Readonly<Record<AnswerChange, string>> = {
  would_allow: 'would be allowed',
  would_deny: 'would be denied',
  other_effects: 'other effects',
  would_fail: 'would fail',
  failed_before: 'failed before',
};
const COLUMNS = ['CHANGE', 'PRINCIPAL', 'METHOD', 'ROUTE', 'BEFORE', 'AFTER', 'COUNT', 'SAMPLE DECISIONS'];
const SHOWN_REASONS = 20;

/** How many decisions change and which, then what could not be tried and why. */
export function formatReplayReport({ report, verdict, gaps }: ShownReplay): string {
  const { replayed, changed, notReplayable, effectsUnknown, otherChanges } = report;
  const all = replayed + notReplayable;
  const lines = [
    `${thousands(changed)} of ${thousands(replayed)} replayed decisions change; ` +
      `${formatShare(report.shareReplayable)} of ${thousands(all)} could be replayed\n`,
    changed === 0 ? '' : `\n${formatTable(COLUMNS, report.changes.map(cellsOf))}`,
    otherChanges === 0 ? '' : `and ${thousands(otherChanges)} more, of other kinds\n`,
    effectsUnknown === 0
      ? ''
      : `\n${thousands(effectsUnknown)} were compared by allow and deny alone: their answers are masked\n`,
    notReplayable === 0 ? '' : `\n${formatReasons(report)}`,
    formatLeftOut(report),
    ...gaps.map((gap) => `${gap}\n`),
    verdict === undefined ? '' : `\nnot passed: ${verdict}\n`,
  ];
  return lines.join('');
}

function cellsOf(row: ReplayReport['changes'][number]): readonly string[] {
  const { change, principal, method, route, before, after, count, samples } = row;
  return [CHANGES[change], principal, method, route, before, after, String(count), samples.join(' ')];
}

function formatReasons({ notReplayable, reasons }: ReplayReport): string {
  const rows = reasons.slice(0, SHOWN_REASONS).map(({ missing, count }) => [missing, String(count)]);
  const more = reasons.length > SHOWN_REASONS ? `and ${reasons.length - SHOWN_REASONS} more\n` : '';
  return `not replayable: ${thousands(notReplayable)}\n${formatTable(['MISSING', 'COUNT'], rows)}${more}`;
}

function formatLeftOut({ leftOut }: ReplayReport): string {
  const parts = [
    [leftOut.anonymous, 'of anonymous callers'],
    [leftOut.otherPolicies, 'of other policies'],
    [leftOut.undecided, 'that no policy decided'],
  ] as const;
  const words = parts.filter(([count]) => count > 0).map(([count, what]) => `${thousands(count)} ${what}`);
  return words.length === 0 ? '' : `\nleft out: ${words.join(', ')}\n`;
}

/** Never rounded up to all. */
function formatShare(share: number): string {
  return `${Math.floor(share * 10_000) / 100} %`;
}

/** As --output json shows it. */
export function replayReportJson({ report, digest, verdict, gaps }: ShownReplay): Readonly<Record<string, unknown>> {
  return {
    passed: verdict === undefined,
    ...(verdict === undefined ? {} : { verdict }),
    policy_digest: digest,
    read: report.read,
    replayed: report.replayed,
    changed: report.changed,
    not_replayable: report.notReplayable,
    share_replayable: report.shareReplayable,
    effects_unknown: report.effectsUnknown,
    evaluations: report.evaluations,
    left_out: {
      anonymous: report.leftOut.anonymous,
      other_policies: report.leftOut.otherPolicies,
      undecided: report.leftOut.undecided,
    },
    missing: report.reasons,
    changes: report.changes,
    other_changes: report.otherChanges,
    gaps,
  };
}
