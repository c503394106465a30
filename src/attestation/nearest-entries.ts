import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RegistrationEntry, Selector } from '../spiffe/index.ts';

/** An entry that does not give its identity to a caller, though it comes close. */
export interface NearMiss {
  readonly entry: RegistrationEntry;
  /** What the entry asks for and the caller does not have, in the entry's order. */
  readonly missing: readonly Selector[];
  /** Why it matches nobody, whatever a caller has. */
  readonly obstacle?: 'expired' | 'store_svid';
}

export interface RankedEntries {
  /** The first MAX_MATCHES of them, in the order of the entries. */
  readonly matches: readonly RegistrationEntry[];
  readonly matchCount: number;
  /** At most MAX_NEAR_MISSES; those that lack fewest selectors first, and those that have none of the caller's last. */
  readonly nearMisses: readonly NearMiss[];
}

export interface RankRequest {
  readonly entries: readonly RegistrationEntry[];
  readonly selectors: ReadonlySet<Selector>;
  /** Epoch milliseconds. */
  readonly now: number;
}

const MAX_MATCHES = 1000;
const MAX_NEAR_MISSES = 10;
/** What is looked at without a break: about a millisecond. */
const SLICE = 4000;

/** Looks at every entry once, without holding up others: 100,000 entries of three selectors take some 50 ms. */
export async function rankEntries({ entries, selectors, now }: RankRequest): Promise<RankedEntries> {
  const matches: RegistrationEntry[] = [];
  const nearest: Candidate[] = [];
  let matchCount = 0;
  for (let start = 0; start < entries.length; start += SLICE) {
    if (start > 0) await nextTurn();
    for (const entry of entries.slice(start, start + SLICE)) {
      const candidate = candidateOf(entry, selectors, now);
      if (candidate === undefined) {
        matchCount += 1;
        if (matches.length < MAX_MATCHES) matches.push(entry);
      } else insert(nearest, candidate);
    }
  }
  return { matches, matchCount, nearMisses: nearest.map((candidate) => toNearMiss(candidate, selectors)) };
}

interface Candidate {
  readonly entry: RegistrationEntry;
  readonly missingCount: number;
  readonly obstacle: NearMiss['obstacle'];
}

/** Undefined when the entry matches. */
function candidateOf(entry: RegistrationEntry, selectors: ReadonlySet<Selector>, now: number): Candidate | undefined {
  let missingCount = entry.selectors.length === 0 ? 1 : 0; // such an entry matches nobody
  for (const selector of entry.selectors) if (!selectors.has(selector)) missingCount += 1;
  const obstacle = obstacleOf(entry, now);
  return missingCount === 0 && obstacle === undefined ? undefined : { entry, missingCount, obstacle };
}

function obstacleOf({ expiresAt, storeSvid }: RegistrationEntry, now: number): NearMiss['obstacle'] {
  if (storeSvid === true) return 'store_svid';
  return expiresAt !== undefined && expiresAt <= now ? 'expired' : undefined;
}

function insert(nearest: Candidate[], candidate: Candidate): void {
  const last = nearest.at(-1);
  if (nearest.length >= MAX_NEAR_MISSES && last !== undefined && compare(candidate, last) >= 0) return;
  const at = nearest.findIndex((other) => compare(candidate, other) < 0);
  nearest.splice(at < 0 ? nearest.length : at, 0, candidate);
  if (nearest.length > MAX_NEAR_MISSES) nearest.pop();
}

function compare(one: Candidate, other: Candidate): number {
  const hasNone = ({ entry, missingCount }: Candidate): number => (missingCount >= entry.selectors.length ? 1 : 0);
  return (
    hasNone(one) - hasNone(other) ||
    one.missingCount - other.missingCount ||
    other.entry.selectors.length - one.entry.selectors.length ||
    (one.entry.entryId < other.entry.entryId ? -1 : 1)
  );
}

function toNearMiss({ entry, obstacle }: Candidate, selectors: ReadonlySet<Selector>): NearMiss {
  const missing = entry.selectors.filter((selector) => !selectors.has(selector));
  return obstacle === undefined ? { entry, missing } : { entry, missing, obstacle };
}
