import type { GrantRule } from '../../policy/index.ts';
import { isHop, type CallerCondition, type GateFacts } from '../translated-policy.ts';
import type { HeaderTest, PeerMatch, RequestMatch, TextMatch } from '../offload-rules.ts';
import { all, any, callerCondition, formulaKey, subjectsOf, type Formula, type Subject } from './formula.ts';
import { canTellPeer } from '../encode-peers.ts';
import { peerMatch } from './peers.ts';
import { NO_FORWARDED_CLIENT, unrefused } from './plain-requests.ts';
import { matcherOf, requestMatch, simplify } from './request-match.ts';

/** A rule without its name, and without what all rules ask for. */
export interface DraftRule {
  readonly request: Formula;
  readonly peer: PeerMatch;
  readonly caller?: CallerCondition;
  readonly headers?: readonly [HeaderTest, ...HeaderTest[]];
  readonly origin: readonly GrantRule[];
  /** Whether the peers may speak for others, in a header that only the gate reads. */
  readonly mayForward: boolean;
}

/** Rules that one condition may become. */
const MAX_ALTERNATIVES = 64;

/** Requests, peers and callers that are asked for together. */
interface Alternative {
  readonly request: readonly Formula[];
  readonly peer: readonly Formula[];
  readonly caller: readonly Formula[];
  readonly header: readonly Formula[];
}

/**
 * The rules that hold where the formula does, for requests that the gate would not refuse before it asks: never more. None, where
 * it can never hold; `untold` where Envoy cannot be told whom they are for.
 */
export function draftRules(
  formula: Formula,
  { facts, origin }: { readonly facts: GateFacts; readonly origin: readonly GrantRule[] },
): readonly DraftRule[] | 'too_large' | 'untold' {
  if (formula.kind === 'false') return [];
  const alternatives = alternativesOf(formula);
  if (alternatives === undefined) return 'too_large';
  const drafts: DraftRule[] = [];
  let isUntold = false;
  for (const { request, peer, caller, header } of alternatives) {
    const peers = peerMatch(peer);
    if (peers === undefined) return 'untold';
    const match = simplify(all(request), 'under');
    if (peers === 'nobody' || match.kind === 'false') continue;
    const told = tellable(peers);
    isUntold ||= told !== peers;
    if (told === undefined) continue;
    if (header.some((each) => headerTest(each) === undefined)) return 'too_large';
    const condition = conditionsOf(caller, header);
    drafts.push(...byHops(told, facts).map((each) => ({ request: match, ...condition, origin, ...each })));
  }
  return drafts.length === 0 && isUntold ? 'untold' : drafts;
}

function conditionsOf(caller: readonly Formula[], header: readonly Formula[]): Pick<DraftRule, 'caller' | 'headers'> {
  const [first, ...rest] = header.map(headerTest).filter((test) => test !== undefined);
  return {
    ...(caller.length === 0 ? {} : { caller: callerCondition(all(caller)) }),
    ...(first === undefined ? {} : { headers: [first, ...rest] }),
  };
}

/** Those that Envoy can be told: it looks for any SAN, so that it has to be told all other texts. */
function tellable(peer: PeerMatch): PeerMatch | undefined {
  if (peer.kind === 'anyone') return peer;
  // Of what is no whole SPIFFE ID those are told that are known when a set is made.
  const canTell = (match: TextMatch): boolean => match.kind !== 'exact' || canTellPeer(match);
  if (peer.of.every(canTell)) return peer;
  const [first, ...rest] = peer.of.filter(canTell);
  return first === undefined ? undefined : { ...peer, of: [first, ...rest] };
}

/** A formula as alternatives of which each is about the request, the peer and the caller apart. */
function alternativesOf(formula: Formula): readonly Alternative[] | undefined {
  let found: readonly Alternative[] = [NO_CONDITIONS];
  const parts = formula.kind === 'all' ? formula.of : [formula];
  for (const part of parts) {
    const choices = choicesOf(part);
    if (choices === undefined || found.length * choices.length > MAX_ALTERNATIVES) return undefined;
    found = found.flatMap((before) => choices.map((choice) => join(before, choice)));
  }
  return found;
}

const NO_CONDITIONS: Alternative = { request: [], peer: [], caller: [], header: [] };

function choicesOf(part: Formula): readonly Alternative[] | undefined {
  const [subject, ...more] = subjectsOf(part);
  if (more.length === 0 && !needsRules(part, subject)) {
    return [subject === undefined ? NO_CONDITIONS : { ...NO_CONDITIONS, [subject]: [part] }];
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

/** Whether each of its alternatives has to be a rule. */
function needsRules(part: Formula, subject: Subject | undefined): boolean {
  if (subject === 'peer') return part.kind === 'any' && peerMatch([part]) === undefined;
  return subject === 'header' && headerTest(part) === undefined;
}

/** One test of one header: several texts of it are one. */
function headerTest(part: Formula): HeaderTest | undefined {
  if (part.kind === 'header') return part.test;
  if (part.kind !== 'any') return undefined;
  const tests = part.of.map((each) => (each.kind === 'header' ? each.test : undefined));
  const [first] = tests;
  if (first === undefined || tests.some((each) => each?.name !== first.name)) return undefined;
  const [text, ...more] = new Set(tests.flatMap((each) => each?.oneOf ?? []));
  return text === undefined ? undefined : { name: first.name, oneOf: [text, ...more] };
}

function join(one: Alternative, other: Alternative): Alternative {
  return {
    request: [...one.request, ...other.request],
    peer: [...one.peer, ...other.peer],
    caller: [...one.caller, ...other.caller],
    header: [...one.header, ...other.header],
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

/** Rules that differ in nothing but the peers are one, then those that differ in nothing but the request. */
export function mergeRules(drafts: readonly DraftRule[]): readonly DraftRule[] {
  const texts = new Map<object, string>();
  const textOf = (value: object | undefined): string => {
    if (value === undefined) return '';
    const text = texts.get(value) ?? JSON.stringify(value);
    texts.set(value, text);
    return text;
  };
  const rest = ({ caller, headers, origin, mayForward }: DraftRule): string =>
    `${textOf(caller)} ${textOf(headers)} ${textOf(origin[0])} ${mayForward}`;
  const byRequest = Map.groupBy(drafts, (each) => {
    return `${formulaKey(each.request)} ${each.peer.kind} ${JSON.stringify(each.peer.except)} ${rest(each)}`;
  });
  const withPeers = [...byRequest.values()].map(withAllPeers);
  const byPeer = Map.groupBy(withPeers, (each) => `${JSON.stringify(each.peer)} ${rest(each)}`);
  return [...byPeer.values()].flatMap(inChunks).map(withAllRequests);
}

/** More paths than this in one rule would be asked one after the other for each request. */
const MAX_REQUESTS = 64;

function inChunks(drafts: readonly DraftRule[]): readonly (readonly DraftRule[])[] {
  const count = Math.ceil(drafts.length / MAX_REQUESTS);
  return Array.from({ length: count }, (_, index) => drafts.slice(index * MAX_REQUESTS, (index + 1) * MAX_REQUESTS));
}

/** Of drafts that are the same but for the peers. */
function withAllPeers(drafts: readonly DraftRule[]): DraftRule {
  const [first, ...more] = drafts as readonly [DraftRule, ...DraftRule[]];
  if (first.peer.kind !== 'peers' || more.length === 0) return first;
  const known = new Map(first.peer.of.map((each) => [JSON.stringify(each), each]));
  for (const { peer } of more) {
    if (peer.kind === 'peers') for (const each of peer.of) known.set(JSON.stringify(each), each);
  }
  const [one = first.peer.of[0], ...others] = known.values();
  return { ...first, origin: originsOf(drafts), peer: { ...first.peer, of: [one, ...others] } };
}

/** Those of the entrypoint first, as each has them. */
function originsOf(drafts: readonly DraftRule[]): readonly GrantRule[] {
  const all = drafts.flatMap(({ origin }) => origin);
  return [...new Map(all.map((each) => [`${each.file}:${each.line}`, each])).values()];
}

/** Of drafts that are the same but for the request: what all of them ask for stands once. */
function withAllRequests(drafts: readonly DraftRule[]): DraftRule {
  const [first, ...more] = drafts as readonly [DraftRule, ...DraftRule[]];
  if (more.length === 0) return first;
  const parts = drafts.map(({ request }) => (request.kind === 'all' ? request.of : [request]));
  const keys = parts.map((each) => new Set(each.map(formulaKey)));
  const isShared = (part: Formula): boolean => keys.every((each) => each.has(formulaKey(part)));
  const shared = (parts[0] ?? []).filter(isShared);
  const own = parts.map((each) => all(each.filter((part) => !isShared(part))));
  return { ...first, origin: originsOf(drafts), request: all([...shared, any(own)]) };
}

/** What a rule matches, with what all rules ask for: the gate would put the request before the policy. */
export function guardedMatch({ request, mayForward }: DraftRule, guards: Guards): RequestMatch {
  const parts = request.kind === 'true' ? [] : request.kind === 'all' ? request.of : [request];
  const own =
    parts.length === 0 ? [] : [matcherOf(all(parts))].flatMap((each) => (each.kind === 'all' ? each.of : [each]));
  const [first, ...rest] = [...own, ...(mayForward ? guards.forwarding : guards.plain)];
  return first === undefined ? { kind: 'always' } : { kind: 'all', of: [first, ...rest] };
}

/** Made once for all rules. */
export interface Guards {
  readonly plain: readonly RequestMatch[];
  readonly forwarding: readonly RequestMatch[];
}

/** Undefined where there is a gate that nothing can be kept from. */
export function guardsFor(facts: GateFacts): Guards | undefined {
  const guard = unrefused(facts);
  const [plain, forwarding] = [guard, all([guard, NO_FORWARDED_CLIENT])].map((each) => requestMatch(each, 'under'));
  if (plain === undefined || forwarding === undefined) return undefined;
  return { plain: partsOf(plain), forwarding: partsOf(forwarding) };
}

function partsOf(match: RequestMatch): readonly RequestMatch[] {
  return match.kind === 'all' ? match.of : [match];
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
    case 'header':
      return { kind: 'true' };
    case 'true':
    case 'false':
    case 'request':
    case 'path':
      return formula;
  }
}
