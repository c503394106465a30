import { canTellPeer } from './encode-peers.ts';
import type { TextMatch } from './offload-rules.ts';
import { matchesText } from './translated-policy.ts';
import { repeatsIn } from './translate/text-match.ts';

/** Comparisons of one ID for one policy, each time that its peers are told: more are a call. Prefixes of all IDs take none. */
const MAX_COMPARED = 1_000_000;

/** What one policy may still compare. */
export class Comparisons {
  #left = MAX_COMPARED;

  /** Whether there are as many left, which are used up then. */
  take(match: TextMatch, ids: number): boolean {
    const cost = ids * costOf(match);
    if (cost > this.#left) return false;
    this.#left -= cost;
    return true;
  }
}

/** `too_costly`: nobody looked. */
export type MatchingPeers = readonly TextMatch[] | 'too_many' | 'too_costly';

/** The SPIFFE IDs that have an entry, by which peers that are matched by a part of their ID are told one by one. */
export class KnownPeers {
  readonly #ids: () => Iterable<string>;
  #sorted: readonly TextMatch[] | undefined;
  readonly #found = new Map<string, readonly TextMatch[] | 'too_many'>();

  /** @param ids asked for when they are needed, once */
  constructor(ids: () => Iterable<string>) {
    this.#ids = ids;
  }

  /** Those that Envoy can be told of; the same list each time. */
  matching(match: TextMatch, limit: number, comparisons = new Comparisons()): MatchingPeers {
    const key = `${limit} ${JSON.stringify(match)}`;
    const all = (this.#sorted ??= exactMatches(this.#ids()));
    const known = this.#found.get(key);
    if (known !== undefined) return known;
    if (match.kind !== 'prefix' && !comparisons.take(match, all.length)) return 'too_costly';
    const found = this.#search(match, limit, all);
    this.#found.set(key, found);
    return found;
  }

  #search(match: TextMatch, limit: number, all: readonly TextMatch[]): readonly TextMatch[] | 'too_many' {
    if (match.kind === 'prefix') {
      const from = firstFrom(all, match.text);
      let to = from;
      while (to < all.length && textOf(all[to]).startsWith(match.text)) {
        to += 1;
        if (to - from > limit) return 'too_many';
      }
      return all.slice(from, to);
    }
    const found = all.filter((each) => matchesText(match, textOf(each)));
    return found.length > limit ? 'too_many' : found;
  }
}

/** By how many places of a regex are tried again for each other. */
const COSTS = [10, 10, 90, 4000];

function costOf(match: TextMatch): number {
  return match.kind === 'regex' ? (COSTS[repeatsIn(match.regex)] ?? MAX_COMPARED) : 1;
}

function exactMatches(ids: Iterable<string>): readonly TextMatch[] {
  return [...new Set(ids)]
    .sort()
    .map((text): TextMatch => ({ kind: 'exact', text }))
    .filter(canTellPeer);
}

/** The first place at which an ID is not below the text. */
function firstFrom(sorted: readonly TextMatch[], text: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (textOf(sorted[middle]) < text) low = middle + 1;
    else high = middle;
  }
  return low;
}

function textOf(match: TextMatch | undefined): string {
  return match?.kind === 'exact' ? match.text : '';
}
