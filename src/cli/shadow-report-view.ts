import { int64ToBigInt, type svidgate } from '../proto/index.ts';
import { formatTable } from './table.ts';
import { thousands } from './thousands.ts';
import { formatWhen, isoTime } from './when.ts';

type Summary = svidgate.admin.v1.ShadowSummary;
type Difference = svidgate.admin.v1.ShadowDifference;

export interface ShadowReport {
  readonly summaries: readonly Summary[];
  readonly differences: readonly Difference[];
}

/** Of a digest. */
const SHOWN_DIGEST_LENGTH = 12;
const COLUMNS = ['PRINCIPAL', 'METHOD', 'ROUTE', 'LIVE', 'CANDIDATE', 'COUNT', 'AGREE', 'LAST SEEN', 'SAMPLE DECISION'];

/** For each snapshot of a candidate one line that says how it stands, and its differences. */
export function formatShadowReport({ summaries, differences }: ShadowReport, now: number): string {
  if (summaries.length === 0) return 'no policy is tried: give one `shadow_of` or `unenforced` in `authz.policies`\n';
  return summaries
    .map((summary) => {
      const rows = differences.filter((row) => isOf(row, summary)).map((row) => cellsOf(row, now));
      const table = rows.length === 0 ? '' : formatTable(COLUMNS, rows);
      return `${verdict(summary)}\n${table}`;
    })
    .join('\n');
}

function isOf(row: Difference, { policy, digest, livePolicy }: Summary): boolean {
  return row.policy === policy && row.digest === digest && row.livePolicy === livePolicy;
}

/** What a team goes by: whether the candidate could decide, and what of the evidence is missing. */
function verdict(summary: Summary): string {
  const { policy, digest, livePolicy, current, firstSeen } = summary;
  const as = livePolicy === policy ? 'not enforced' : `shadow of ${livePolicy}`;
  const name = `${policy} (${as}${digest === '' ? '' : `, ${digest.slice(0, SHOWN_DIGEST_LENGTH)}`}${current ? '' : ', not in force'})`;
  if (digest === '') return `${name}: not loaded, nothing is compared; \`svidgate status\` says why`;
  const { same, otherEffects, wouldAllow, wouldDeny, liveFailed, candidateFailed, dropped } = countsOf(summary);
  const compared = same + otherEffects + wouldAllow + wouldDeny + liveFailed + candidateFailed;
  const missing = dropped === 0 ? '' : `; ${thousands(dropped)} more were not compared, too many were waiting`;
  const since = firstSeen === null ? '' : ` since ${isoTime(firstSeen) ?? ''}`;
  if (compared === 0) return `${name}: no request was compared yet${missing}`;
  if (same === compared) return `${name}: no differences in ${thousands(compared)} requests${since}${missing}`;
  const parts = [
    [wouldDeny, 'would be denied'],
    [wouldAllow, 'would be allowed'],
    [otherEffects, 'would have other effects'],
    [candidateFailed, 'made the candidate fail'],
    [liveFailed, 'were denied by a failure of the live policy'],
  ] as const;
  const words = parts.filter(([count]) => count > 0).map(([count, what]) => `${thousands(count)} ${what}`);
  return `${name}: ${thousands(same)} of ${thousands(compared)} requests agree${since}: ${words.join(', ')}${missing}`;
}

function cellsOf(row: Difference, now: number): readonly string[] {
  const { principal, method, route, lastSeen, sampleDecisionId } = row;
  return [
    principal,
    method,
    route,
    answerText(row.live, row.liveReason),
    `${answerText(row.candidate, row.candidateReason)}${row.comparison === 'other_effects' ? ', other effects' : ''}`,
    String(numberOf(row.count)),
    `${numberOf(row.agreed)} of ${numberOf(row.compared)}`,
    formatWhen(lastSeen, now),
    sampleDecisionId,
  ];
}

function answerText(answer: string, reason: string): string {
  return reason === '' || reason === 'policy_denied' ? answer : `${answer} (${reason})`;
}

/** As --output json shows it. */
export function shadowReportJson({ summaries, differences }: ShadowReport): Readonly<Record<string, unknown>> {
  return {
    policies: summaries.map((summary) => {
      const counts = countsOf(summary);
      return {
        policy: summary.policy,
        ...(summary.digest === '' ? {} : { digest: summary.digest }),
        live_policy: summary.livePolicy,
        current: summary.current,
        first_seen: isoTime(summary.firstSeen),
        last_seen: isoTime(summary.lastSeen),
        same: counts.same,
        other_effects: counts.otherEffects,
        would_allow: counts.wouldAllow,
        would_deny: counts.wouldDeny,
        live_failed: counts.liveFailed,
        candidate_failed: counts.candidateFailed,
        dropped: counts.dropped,
      };
    }),
    differences: differences.map((row) => ({
      policy: row.policy,
      digest: row.digest,
      live_policy: row.livePolicy,
      principal: row.principal,
      method: row.method,
      route: row.route,
      comparison: row.comparison,
      live: row.live,
      ...(row.liveReason === '' ? {} : { live_reason: row.liveReason }),
      candidate: row.candidate,
      ...(row.candidateReason === '' ? {} : { candidate_reason: row.candidateReason }),
      count: numberOf(row.count),
      compared: numberOf(row.compared),
      agreed: numberOf(row.agreed),
      first_seen: isoTime(row.firstSeen),
      last_seen: isoTime(row.lastSeen),
      sample_decision_id: row.sampleDecisionId,
    })),
  };
}

const COUNTS = ['same', 'otherEffects', 'wouldAllow', 'wouldDeny', 'liveFailed', 'candidateFailed', 'dropped'] as const;

function countsOf(summary: Summary): Readonly<Record<(typeof COUNTS)[number], number>> {
  return Object.fromEntries(COUNTS.map((name) => [name, numberOf(summary[name])])) as ReturnType<typeof countsOf>;
}

function numberOf(value: Summary['same']): number {
  return Number(int64ToBigInt(value));
}
