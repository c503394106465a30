import { canTellPeer } from './encode-peers.ts';
import type { TextMatch } from './offload-rules.ts';
import { matchesText } from './translated-policy.ts';
import { repeatsIn } from './translate/text-match.ts';

/** Comparisons with all IDs, one after the other, in all: more are a call. Prefixes take none. */
const MAX_COMPARED = 1_000_000;

/** The SPIFFE IDs that have an entry, by which peers that are matched by a part of their ID are told one by one. */
export class KnownPeers {
  readonly #ids: () => Iterable<string>;
  #sorted: readonly TextMatch[] | undefined;
  #compared = 0;
  readonly #found = new Map<string, readonly TextMatch[] | 'too_many'>();

  /** @param ids asked for when they are needed, once */
  constructor(ids: () => Iterable<string>) {
    this.#ids = ids;
  }

  /** Those that Envoy can be told of; the same list each time. */
  matching(match: TextMatch, limit: number): readonly TextMatch[] | 'too_many' {
    const key = `${limit} ${JSON.stringify(match)}`;
    const found = this.#found.get(key) ?? this.#search(match, limit);
    this.#found.set(key, found);
    return found;
  }

  #search(match: TextMatch, limit: number): readonly TextMatch[] | 'too_many' {
    const all = (this.#sorted ??= exactMatches(this.#ids()));
    if (match.kind === 'prefix') {
      const from = firstFrom(all, match.text);
      let to = from;
      while (to < all.length && textOf(all[to]).startsWith(match.text)) {
        to += 1;
        if (to - from > limit) return 'too_many';
      }
      return all.slice(from, to);
    }
    this.#compared += all.length * costOf(match);
    if (this.#compared > MAX_COMPARED) return 'too_many';
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
