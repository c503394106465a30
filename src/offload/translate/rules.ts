import type { GrantRule } from '../../policy/index.ts';
import { isHop, type CallerCondition, type GateFacts } from '../translated-policy.ts';
import type { PeerMatch, RequestMatch, TextMatch } from '../offload-rules.ts';
import { all, any, callerCondition, subjectsOf, type Formula } from './formula.ts';
import { peerMatch } from './peers.ts';
import { NO_FORWARDED_CLIENT, unrefused } from './plain-requests.ts';
import { requestMatch } from './request-match.ts';

/** A rule without its name. */
export interface DraftRule {
  readonly request: RequestMatch;
  readonly peer: PeerMatch;
  readonly caller?: CallerCondition;
  readonly origin: readonly GrantRule[];
}

/** Rules that one condition may become. */
const MAX_ALTERNATIVES = 64;

/** Requests, peers and callers that are asked for together. */
interface Alternative {
  readonly request: readonly Formula[];
  readonly peer: readonly Formula[];
  readonly caller: readonly Formula[];
}

/**
 * The rules that hold where the formula does, for requests that the gate would not refuse before it asks: never more. None, where
 * it can never hold; undefined where that is more than Envoy can be told.
 */
export function draftRules(
  formula: Formula,
  { facts, origin }: { readonly facts: GateFacts; readonly origin: readonly GrantRule[] },
): readonly DraftRule[] | undefined {
  if (formula.kind === 'false') return [];
  const alternatives = alternativesOf(formula);
  if (alternatives === undefined) return undefined;
  const guard = unrefused(facts);
  const drafts: DraftRule[] = [];
  for (const { request, peer, caller } of alternatives) {
    const peers = peerMatch(peer);
    if (peers === undefined) return undefined;
    if (peers === 'nobody') continue;
    for (const each of byHops(peers, facts)) {
      const match = requestMatch(all([...request, guard, ...(each.mayForward ? [NO_FORWARDED_CLIENT] : [])]), 'under');
      if (match === undefined) continue;
      const condition = caller.length === 0 ? {} : { caller: callerCondition(all(caller)) };
      drafts.push({ request: match, peer: each.peer, ...condition, origin });
    }
  }
  return drafts;
}

/** A formula as alternatives of which each is about the request, the peer and the caller apart. */
function alternativesOf(formula: Formula): readonly Alternative[] | undefined {
  let found: readonly Alternative[] = [{ request: [], peer: [], caller: [] }];
  const parts = formula.kind === 'all' ? formula.of : [formula];
  for (const part of parts) {
    const choices = choicesOf(part);
    if (choices === undefined || found.length * choices.length > MAX_ALTERNATIVES) return undefined;
    found = found.flatMap((before) => choices.map((choice) => join(before, choice)));
  }
  return found;
}

function choicesOf(part: Formula): readonly Alternative[] | undefined {
  const [subject, ...more] = subjectsOf(part);
  const isPeers = subject === 'peer' && part.kind === 'any' && peerMatch([part]) === undefined;
  if (more.length === 0 && !isPeers) {
    const none: Alternative = { request: [], peer: [], caller: [] };
    return [subject === undefined ? none : { ...none, [subject]: [part] }];
  }
  if (part.kind !== 'any') return part.kind === 'all' ? alternativesOf(part) : undefined;
  const choices: Alternative[] = [];
  for (const each of part.of) {
    const found = alternativesOf(each);
    if (found === undefined) return undefined;
    choices.push(...found);
  }
  return choices;
}

function join(one: Alternative, other: Alternative): Alternative {
  return {
    request: [...one.request, ...other.request],
    peer: [...one.peer, ...other.peer],
    caller: [...one.caller, ...other.caller],
  };
}

/** Those whose word about a client is taken apart from the others. */
function byHops(
  peer: PeerMatch,
  { hops }: GateFacts,
): readonly { readonly peer: PeerMatch; readonly mayForward: boolean }[] {
  if (hops.length === 0) return [{ peer, mayForward: false }];
  const names = peer.kind === 'peers' ? peer.of : [];
  if (peer.kind !== 'peers' || names.some(({ kind }) => kind !== 'exact')) return [{ peer, mayForward: true }];
  const isForwarder = (match: TextMatch): boolean => match.kind === 'exact' && isHop(hops, match.text);
  const split = [true, false].map((mayForward) => {
    const [first, ...rest] = names.filter((each) => isForwarder(each) === mayForward);
    return first === undefined ? undefined : { peer: { ...peer, of: [first, ...rest] as const }, mayForward };
  });
  return split.filter((each) => each !== undefined);
}

/** Rules that differ in nothing but the peers are one. */
export function mergeRules(drafts: readonly DraftRule[]): readonly DraftRule[] {
  const merged = new Map<string, DraftRule>();
  for (const draft of drafts) {
    const { request, peer, caller, origin } = draft;
    const key = JSON.stringify([request, caller, origin, peer.kind, peer.except]);
    const before = merged.get(key);
    if (before === undefined) merged.set(key, draft);
    else if (before.peer.kind === 'peers' && peer.kind === 'peers') {
      const known = new Set(before.peer.of.map((each) => JSON.stringify(each)));
      const more = peer.of.filter((each) => !known.has(JSON.stringify(each)));
      merged.set(key, { ...before, peer: { ...before.peer, of: [...before.peer.of, ...more] } });
    }
  }
  return [...merged.values()];
}

/** What may be allowed at all: whoever asks, from whichever peer. Undefined: anything. */
export function outerMatch(over: Formula): RequestMatch | 'nothing' | undefined {
  const match = requestMatch(forAnybody(over), 'over');
  if (match === undefined) return 'nothing';
  return match.kind === 'always' ? undefined : match;
}

/** Without what is asked of peers and callers: what depends on them may hold. */
function forAnybody(formula: Formula): Formula {
  switch (formula.kind) {
    case 'all':
      return all(formula.of.map(forAnybody));
    case 'any':
      return any(formula.of.map(forAnybody));
    case 'not':
      return subjectsOf(formula).has('request') ? formula : { kind: 'true' };
    case 'peer':
    case 'caller':
      return { kind: 'true' };
    case 'true':
    case 'false':
    case 'request':
    case 'path':
      return formula;
  }
}
