import { createHash } from 'node:crypto';
import type { ShadowCount } from '../datastore/index.ts';
import type { Comparison, ShadowAnswer } from './shadow-answer.ts';
import type { ShadowSubject } from './shadow-subject.ts';

/** One request and what the two policies say to it. */
export interface ShadowObservation {
  /** The candidate. */
  readonly policy: string;
  /** Of the candidate. */
  readonly digest: string;
  readonly livePolicy: string;
  readonly subject: ShadowSubject;
  readonly comparison: Comparison;
  readonly live: Pick<ShadowAnswer, 'kind' | 'reason'>;
  readonly candidate: Pick<ShadowAnswer, 'kind' | 'reason'>;
  readonly decisionId: string;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** What changed since the last write. */
export interface ShadowChanges {
  readonly put: readonly ShadowCount[];
  readonly deleted: readonly string[];
}

type Row = { -readonly [Name in keyof ShadowCount]: ShadowCount[Name] };

/** What stands for the subjects that found no row any more. */
export const OTHERS = '(others)';

const NOBODY: ShadowSubject = { principal: OTHERS, method: OTHERS, route: OTHERS };

/** Of one candidate, all its digests together: rows of differences, and again as many of agreement. */
const DEFAULT_MAX_ROWS = 5000;

/**
 * Counts by candidate, its digest, who asked for what, and the two answers. When a candidate has all its rows, those of its
 * oldest other digest go; without one, further subjects are counted together as OTHERS.
 */
export class ShadowTable {
  readonly #maxRows: number;
  readonly #rows = new Map<string, Row>();
  /** How many rows count against the bound. */
  readonly #sizes = new Map<string, number>();
  /** How many rows each digest of a candidate has. */
  readonly #digests = new Map<string, Map<string, number>>();
  readonly #changed = new Set<string>();
  readonly #deleted = new Set<string>();

  constructor(options: { readonly maxRows?: number } = {}) {
    this.#maxRows = options.maxRows ?? DEFAULT_MAX_ROWS;
  }

  get rows(): Iterable<ShadowCount> {
    return this.#rows.values();
  }

  has(policy: string): boolean {
    return (this.#digests.get(policy)?.size ?? 0) > 0;
  }

  /** Adds what was written before, once; rows beyond the bound are left out. */
  restore(counts: readonly ShadowCount[]): void {
    for (const before of counts) {
      const row = this.#rows.get(before.id);
      if (row === undefined) {
        if (!isBounded(before) || this.#sizeOf(before) < this.#maxRows) this.#add({ ...before });
      } else {
        row.count += before.count;
        row.firstSeen = Math.min(row.firstSeen, before.firstSeen);
      }
    }
  }

  record(observation: ShadowObservation): void {
    const row = this.#rowFor(observation);
    row.count += 1;
    row.lastSeen = Math.max(row.lastSeen, observation.at);
    row.sampleDecisionId = observation.decisionId;
    this.#changed.add(row.id);
  }

  /** Requests that were not compared: nobody knows whose. */
  recordDropped(about: Pick<ShadowObservation, 'policy' | 'digest' | 'livePolicy' | 'at'>, by: number): void {
    const nothing = { kind: '', reason: '' } as const;
    const own = rowOf({ ...about, comparison: 'dropped', live: nothing, candidate: nothing, decisionId: '' }, NOBODY);
    const row = this.#rows.get(own.id) ?? this.#add(own);
    row.count += by;
    row.lastSeen = Math.max(row.lastSeen, about.at);
    this.#changed.add(row.id);
  }

  /** Removes the rows of one candidate, or of all. */
  clear(policy?: string): void {
    for (const row of this.#rows.values()) if (policy === undefined || row.policy === policy) this.#remove(row);
  }

  /** Removes what was seen last before this time under another digest than the one in force. */
  prune(before: number, currentDigest: (policy: string) => string | undefined): void {
    for (const row of this.#rows.values()) {
      if (row.lastSeen < before && row.digest !== currentDigest(row.policy)) this.#remove(row);
    }
  }

  /** At most `limit` rows to put; the rest stays for the next time. */
  takeChanges(limit: number): ShadowChanges {
    const deleted = [...this.#deleted];
    this.#deleted.clear();
    const put: ShadowCount[] = [];
    for (const id of this.#changed) {
      if (put.length >= limit) break;
      this.#changed.delete(id);
      const row = this.#rows.get(id);
      if (row !== undefined) put.push({ ...row });
    }
    return { put, deleted };
  }

  /** They could not be written. */
  giveBack({ put, deleted }: ShadowChanges): void {
    for (const { id } of put) if (this.#rows.has(id)) this.#changed.add(id);
    for (const id of deleted) if (!this.#rows.has(id)) this.#deleted.add(id);
  }

  #rowFor(observation: ShadowObservation): Row {
    const own = rowOf(observation, observation.subject);
    const found = this.#rows.get(own.id);
    if (found !== undefined) return found;
    if (!isBounded(own) || this.#hasRoom(own)) return this.#add(own);
    const others = rowOf(observation, NOBODY);
    return this.#rows.get(others.id) ?? this.#add(others);
  }

  #hasRoom(row: Row): boolean {
    while (this.#sizeOf(row) >= this.#maxRows) {
      const oldest = this.#oldestDigest(row.policy, row.digest);
      if (oldest === undefined) return false;
      for (const each of this.#rows.values()) {
        if (each.policy === row.policy && each.digest === oldest) this.#remove(each);
      }
    }
    return true;
  }

  /** Looked for only when all rows are taken and another digest has some of them. */
  #oldestDigest(policy: string, except: string): string | undefined {
    const digests = this.#digestsOf(policy);
    if (digests.size <= (digests.has(except) ? 1 : 0)) return undefined;
    const last = new Map<string, number>();
    for (const row of this.#rows.values()) {
      if (row.policy !== policy || row.digest === except) continue;
      last.set(row.digest, Math.max(last.get(row.digest) ?? 0, row.lastSeen));
    }
    return [...last].sort(([, one], [, other]) => one - other)[0]?.[0];
  }

  #digestsOf(policy: string): Map<string, number> {
    const found = this.#digests.get(policy) ?? new Map<string, number>();
    this.#digests.set(policy, found);
    return found;
  }

  #add(row: Row): Row {
    this.#rows.set(row.id, row);
    this.#deleted.delete(row.id);
    this.#count(row, 1);
    return row;
  }

  #remove(row: Row): void {
    this.#rows.delete(row.id);
    this.#changed.delete(row.id);
    this.#deleted.add(row.id);
    this.#count(row, -1);
  }

  #count(row: Row, by: 1 | -1): void {
    const digests = this.#digestsOf(row.policy);
    const left = (digests.get(row.digest) ?? 0) + by;
    if (left === 0) digests.delete(row.digest);
    else digests.set(row.digest, left);
    if (isBounded(row)) this.#sizes.set(sizeKey(row), this.#sizeOf(row) + by);
  }

  #sizeOf(row: ShadowCount): number {
    return this.#sizes.get(sizeKey(row)) ?? 0;
  }
}

/** Differences and agreement have bounds of their own, so that neither crowds out the other. */
function sizeKey({ policy, comparison }: ShadowCount): string {
  return `${comparison === 'same' ? 'same' : 'differ'} ${policy}`;
}

/** The rows of OTHERS are few: one for each pair of answers. */
function isBounded({ principal }: ShadowCount): boolean {
  return principal !== OTHERS;
}

type Answers = Readonly<Record<'live' | 'candidate', { readonly kind: string; readonly reason: string }>>;

function rowOf(observation: Omit<ShadowObservation, 'subject' | keyof Answers> & Answers, subject: ShadowSubject): Row {
  const { policy, digest, livePolicy, comparison, live, candidate, decisionId, at } = observation;
  const { principal, method, route } = subject;
  const answers = [live.kind, live.reason, candidate.kind, candidate.reason] as const;
  const key = JSON.stringify([policy, digest, livePolicy, principal, method, route, comparison, ...answers]);
  return {
    id: createHash('sha256').update(key).digest('hex'),
    policy,
    digest,
    livePolicy,
    principal,
    method,
    route,
    comparison,
    live: answers[0],
    liveReason: answers[1],
    candidate: answers[2],
    candidateReason: answers[3],
    count: 0,
    firstSeen: at,
    lastSeen: at,
    sampleDecisionId: decisionId,
  };
}
