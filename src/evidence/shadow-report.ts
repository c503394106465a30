import { setImmediate as othersTurn } from 'node:timers/promises';
import type { ShadowCount } from '../datastore/index.ts';
import { COMPARISONS, type Comparison } from './shadow-answer.ts';

/** What of the counts is asked for; what is left out is not asked about. */
export interface ShadowReportFilter {
  readonly policy?: string;
  readonly principal?: string;
  readonly method?: string;
  readonly route?: string;
  /** Rows that were seen at this time or later, with all that they have counted. Epoch milliseconds. */
  readonly seenSince?: number;
  /** Also of snapshots that are not in force any more. */
  readonly allDigests?: boolean;
}

/** One snapshot of one candidate. */
export interface ShadowSummary {
  readonly policy: string;
  /** Empty while none is loaded. */
  readonly digest: string;
  readonly livePolicy: string;
  /** Whether it is the one in force. */
  readonly isCurrent: boolean;
  readonly counts: Readonly<Record<Comparison, number>>;
  /** Epoch milliseconds; absent when nothing was seen. */
  readonly firstSeen?: number;
  readonly lastSeen?: number;
}

/** One kind of difference. */
export interface ShadowDifference extends ShadowCount {
  /** Of all requests with this principal, method and route: how many were compared, and how many were answered alike. */
  readonly compared: number;
  readonly agreed: number;
}

export interface ShadowReport {
  readonly summaries: readonly ShadowSummary[];
  /** In no order. */
  readonly differences: readonly ShadowDifference[];
}

/** A policy that is tried, as it is now. */
export interface TriedPolicy {
  readonly policy: string;
  readonly livePolicy: string;
  /** Absent while it is not loaded. */
  readonly digest?: string;
}

/** Of rows: about a millisecond, then answers come first. */
const READ_AT_ONCE = 500;

/**
 * Policies that are tried now have a summary each, also before the first request. What is counted meanwhile may be in it in
 * part.
 */
export async function shadowReport(
  rows: Iterable<ShadowCount>,
  tried: readonly TriedPolicy[],
  filter: ShadowReportFilter,
): Promise<ShadowReport> {
  const current = new Map(tried.map(({ policy, digest }) => [policy, digest ?? '']));
  const summaries = new Map<string, Summary>();
  const summaryOf = ({ policy, digest, livePolicy }: Required<TriedPolicy>): Summary => {
    const key = JSON.stringify([policy, digest, livePolicy]);
    const found = summaries.get(key);
    if (found !== undefined) return found;
    const made = { policy, digest, livePolicy, isCurrent: current.get(policy) === digest, counts: noCounts() };
    summaries.set(key, made);
    return made;
  };
  for (const { policy, digest = '', livePolicy } of tried) {
    if ((filter.policy ?? policy) === policy) summaryOf({ policy, digest, livePolicy });
  }
  const subjects = new Map<string, { compared: number; agreed: number }>();
  const differences: ShadowCount[] = [];
  let read = 0;
  for (const row of rows) {
    read += 1;
    if (read % READ_AT_ONCE === 0) await othersTurn();
    if (!isAskedFor(row, filter) || (filter.allDigests !== true && current.get(row.policy) !== row.digest)) continue;
    const { count, firstSeen, lastSeen } = row;
    const comparison = comparisonOf(row);
    const summary = summaryOf(row);
    summary.counts = { ...summary.counts, [comparison]: summary.counts[comparison] + count };
    summary.firstSeen = Math.min(summary.firstSeen ?? firstSeen, firstSeen);
    summary.lastSeen = Math.max(summary.lastSeen ?? lastSeen, lastSeen);
    if (comparison === 'dropped') continue;
    const subject = subjects.get(subjectKey(row)) ?? { compared: 0, agreed: 0 };
    subjects.set(subjectKey(row), subject);
    subject.compared += count;
    if (comparison === 'same') subject.agreed += count;
    else differences.push({ ...row });
  }
  return {
    summaries: [...summaries.values()],
    differences: differences.map((row) => ({ ...row, ...(subjects.get(subjectKey(row)) ?? NOTHING) })),
  };
}

type Summary = { -readonly [Name in keyof ShadowSummary]: ShadowSummary[Name] };

const NOTHING = { compared: 0, agreed: 0 } as const;

function isAskedFor(row: ShadowCount, filter: ShadowReportFilter): boolean {
  const { policy, principal, method, route, seenSince } = filter;
  return (
    (policy === undefined || row.policy === policy) &&
    (principal === undefined || row.principal === principal) &&
    (method === undefined || row.method === method) &&
    (route === undefined || row.route === route) &&
    (seenSince === undefined || row.lastSeen >= seenSince)
  );
}

function comparisonOf({ comparison }: ShadowCount): Comparison {
  // A word of a newer svidgate is a difference that has no name here.
  return COMPARISONS.find((known) => known === comparison) ?? 'other_effects';
}

function noCounts(): Record<Comparison, number> {
  return Object.fromEntries(COMPARISONS.map((name) => [name, 0])) as Record<Comparison, number>;
}

function subjectKey({ policy, digest, livePolicy, principal, method, route }: ShadowCount): string {
  return JSON.stringify([policy, digest, livePolicy, principal, method, route]);
}
