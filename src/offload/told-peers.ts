import type { KnownPeers } from './known-peers.ts';
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
}

/** The same until entries change. */
const lastTold = new WeakMap<TranslatedPolicy, ToldPeers>();

/** Peers of all its rules, in whole SPIFFE IDs as far as they are known. */
export function toldPeers(translated: TranslatedPolicy, known: KnownPeers | undefined): ToldPeers {
  const last = lastTold.get(translated);
  if (last !== undefined && last.known === known) return last;
  const told = { count: 0, crowded: 0 };
  const peers = translated.rules.map(({ peer }) => tellOneByOne(peer, known, told));
  const made = { known, peers, crowded: told.crowded };
  lastTold.set(translated, made);
  return made;
}

interface Told {
  /** Of the policy so far. */
  count: number;
  crowded: number;
}

/** Envoy can be told of whole SPIFFE IDs alone. Undefined where nobody is left; as it was without `known`. */
function tellOneByOne(peer: PeerMatch, known: KnownPeers | undefined, told: Told): PeerMatch | undefined {
  if (known === undefined || peer.kind === 'anyone' || !isOpen(peer)) return peer;
  const all = new Map<string, TextMatch>();
  let isCrowded = false;
  for (const match of peer.of) {
    const matching = match.kind === 'exact' ? [match] : known.matching(match, MAX_TOLD.rule);
    if (matching === 'too_many') isCrowded = true;
    else for (const each of matching) if (each.kind === 'exact') all.set(each.text, each);
  }
  const named = new Set(peer.of.map((match) => (match.kind === 'exact' ? match.text : '')));
  const left = [...all].filter(([id]) => !peer.except.some((each) => matchesText(each, id)));
  const more = left.filter(([id]) => !named.has(id)).length;
  isCrowded ||= more > MAX_TOLD.rule || told.count + more > MAX_TOLD.policy;
  if (isCrowded) told.crowded += 1;
  else told.count += more;
  const [first, ...others] = left.filter(([id]) => !isCrowded || named.has(id)).map(([, match]) => match);
  return first === undefined ? undefined : { kind: 'peers', of: [first, ...others], except: [] };
}
