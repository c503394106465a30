import { canTellPeer } from './encode-peers.ts';
import { Comparisons, type KnownPeers } from './known-peers.ts';
import type { PeerMatch, TextMatch } from './offload-rules.ts';
import { matchesText, type TranslatedPolicy } from './translated-policy.ts';

/** Peers that one rule may tell one by one, and all rules of a policy: each is some 1 KB for each Envoy. */
const MAX_TOLD = { rule: 200, policy: 2000 };

const open = new WeakMap<TranslatedPolicy, boolean>();

/** Whether entries matter for it. */
export function hasOpenPeers(translated: TranslatedPolicy): boolean {
  const found = open.get(translated) ?? translated.rules.some(({ peer }) => isOpen(peer));
  open.set(translated, found);
  return found;
}

/** Whether peers are matched by a part of their SPIFFE ID. */
export function isOpen(peer: PeerMatch): boolean {
  return peer.kind === 'peers' && peer.of.some(({ kind }) => kind !== 'exact');
}

/** With peers told one by one as far as they are known, whoever they are; rules of which nobody is known stay as they were. */
export function withKnownPeers(translated: TranslatedPolicy, known: KnownPeers): TranslatedPolicy {
  const { peers } = toldPeers(translated, known);
  const rules = translated.rules.map((rule, index) => {
    const peer = peers[index] ?? rule.peer;
    return peer === rule.peer ? rule : { ...rule, peer };
  });
  return { ...translated, rules };
}

interface ToldPeers {
  readonly known: KnownPeers | undefined;
  /** Of each rule. */
  readonly peers: readonly (PeerMatch | undefined)[];
  readonly crowded: number;
  readonly costly: number;
}

/** The same until entries change. */
const lastTold = new WeakMap<TranslatedPolicy, ToldPeers>();

/** Peers of all its rules, in whole SPIFFE IDs as far as they are known. */
export function toldPeers(translated: TranslatedPolicy, known: KnownPeers | undefined): ToldPeers {
  const last = lastTold.get(translated);
  if (last !== undefined && last.known === known) return last;
  const told: Told = { count: 0, crowded: 0, costly: 0, comparisons: new Comparisons() };
  const peers = translated.rules.map(({ peer }) => tellOneByOne(peer, known, told));
  const made = { known, peers, crowded: told.crowded, costly: told.costly };
  lastTold.set(translated, made);
  return made;
}

interface Told {
  /** Of the policy so far. */
  count: number;
  crowded: number;
  costly: number;
  readonly comparisons: Comparisons;
}

/** Envoy can be told of whole SPIFFE IDs alone. Undefined where nobody is left; as it was without `known`. */
function tellOneByOne(peer: PeerMatch, known: KnownPeers | undefined, told: Told): PeerMatch | undefined {
  if (known === undefined || peer.kind === 'anyone' || !isOpen(peer)) return peer;
  const all = new Map<string, TextMatch>();
  const named = new Set<string>();
  let found: 'all' | 'too_many' | 'too_costly' = told.count < MAX_TOLD.policy ? 'all' : 'too_many';
  for (const match of peer.of) {
    if (match.kind === 'exact') {
      named.add(match.text);
      all.set(match.text, match);
    } else if (found === 'all') {
      const matching = known.matching(match, MAX_TOLD.rule, told.comparisons);
      if (typeof matching === 'string') found = matching;
      else for (const each of matching) if (each.kind === 'exact') all.set(each.text, each);
    }
  }
  const candidates = [...all.values()].filter((match) => found === 'all' || named.has(textOf(match)));
  const left = without(peer.except, candidates, told.comparisons);
  if (left === 'too_costly') {
    told.costly += 1;
    return undefined;
  }
  const more = left.filter((match) => !named.has(textOf(match))).length;
  if (more > MAX_TOLD.rule || told.count + more > MAX_TOLD.policy) found = 'too_many';
  if (found === 'all') told.count += more;
  else if (found === 'too_many') told.crowded += 1;
  else told.costly += 1;
  const [first, ...others] = left.filter((match) => found === 'all' || named.has(textOf(match)));
  return first === undefined ? undefined : { kind: 'peers', of: [first, ...others], except: [] };
}

/** Of these IDs those that are not left out. */
function without(
  except: readonly TextMatch[],
  ids: readonly TextMatch[],
  comparisons: Comparisons,
): readonly TextMatch[] | 'too_costly' {
  const out = new Set(except.map(textOf));
  const patterns = except.filter(({ kind }) => kind !== 'exact');
  // What a comparison costs is reckoned for IDs that Envoy can be told of: longer ones are never sent.
  let left = ids.filter((match) => !out.has(textOf(match)) && (patterns.length === 0 || canTellPeer(match)));
  for (const pattern of patterns) {
    if (!comparisons.take(pattern, left.length)) return 'too_costly';
    left = left.filter((match) => !matchesText(pattern, textOf(match)));
  }
  return left;
}

/** Empty for what is no whole ID. */
function textOf(match: TextMatch): string {
  return match.kind === 'exact' ? match.text : '';
}
