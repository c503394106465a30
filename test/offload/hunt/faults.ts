/** What a translation may get wrong, planted: the hunt has to find each. */
import type { GateFacts, OffloadSet, PeerMatch, RequestMatch, TranslatedPolicy } from '../../../src/offload/index.ts';
import { TRANSLATORS, type Translators } from '../../../src/offload/translate/index.ts';
import type { MomentName, Spoil } from './hunt.ts';

export interface Fault {
  readonly name: string;
  /** The written policy that shows it. */
  readonly shownBy: string;
  readonly moment?: MomentName;
  readonly translators?: Translators;
  readonly gate?: (gate: GateFacts) => GateFacts;
  readonly spoil?: Spoil;
}

const { operators, references } = TRANSLATORS;
type Operator = Translators['operators'][string];
type Reference = Translators['references'][number];

const operator = (name: string): Operator => operators[name] ?? (() => undefined);
const withOperator = (name: string, translate: Operator): Translators => ({
  references,
  operators: { ...operators, [name]: translate },
});

const pathOf = (text: string): string => text.replace('http', 'attributes.request.http');
const reference = (path: string): Reference => {
  const found = references.find((each) => each.path.join('.') === pathOf(path));
  if (found === undefined) throw new Error(`nothing translates ${path}`);
  return found;
};
/** As if one part of the input were another. */
const withReference = (path: string, meaning: Reference['meaning']): Translators => ({
  operators,
  references: references.map((each) => (each.path.join('.') === pathOf(path) ? { ...each, meaning } : each)),
});

const withRequests =
  (change: (match: RequestMatch) => RequestMatch) =>
  (set: OffloadSet): OffloadSet => ({
    ...set,
    allow: set.allow.map((rule) => ({ ...rule, request: change(rule.request) })),
  });

const onRequests = (change: (match: RequestMatch) => RequestMatch): ((set: OffloadSet) => OffloadSet) =>
  withRequests((match) => deep(match, change));

function outsideNots(match: RequestMatch, change: (match: RequestMatch) => RequestMatch): RequestMatch {
  if (match.kind !== 'all' && match.kind !== 'any') return change(match);
  const [first, ...rest] = match.of.map((each) => outsideNots(each, change));
  return first === undefined ? match : { ...match, of: [first, ...rest] };
}

function deep(match: RequestMatch, change: (match: RequestMatch) => RequestMatch): RequestMatch {
  if (match.kind === 'all' || match.kind === 'any') {
    const [first, ...rest] = match.of.map((each) => deep(each, change));
    return change(first === undefined ? match : { ...match, of: [first, ...rest] });
  }
  return change(match.kind === 'not' ? { ...match, of: deep(match.of, change) } : match);
}

const withoutCallers = (translated: TranslatedPolicy): TranslatedPolicy => ({
  ...translated,
  rules: translated.rules.map(({ caller: _caller, ...rule }) => rule),
});

const withoutExcept = (translated: TranslatedPolicy): TranslatedPolicy => ({
  ...translated,
  rules: translated.rules.map((rule) => ({ ...rule, peer: { ...rule.peer, except: [] } })),
});

const ALWAYS: RequestMatch = { kind: 'always' };
const PARTNER = 'partner.test' as never;

export const FAULTS: readonly Fault[] = [
  { name: 'a prefix may stand anywhere', shownBy: 'prefixes', translators: withOperator('startswith', operator('contains')) },
  { name: 'a suffix may stand anywhere', shownBy: 'suffixes', translators: withOperator('endswith', operator('contains')) },
  { name: 'equal texts are prefixes', shownBy: 'whole_path', spoil: { set: onRequests(anyEnding) } },
  { name: 'case is not looked at', shownBy: 'whole_path', spoil: { set: onRequests(anyCase) } },
  { name: 'a comparison is turned round', shownBy: 'compared', translators: withOperator('lte', operator('gte')) },
  { name: 'a missing header is not the other', shownBy: 'header_there', translators: withOperator('object.get', ([text]) => text) },
  { name: 'a path is its part before the query', shownBy: 'whole_path', spoil: { set: onRequests(withoutQuery) } },
  { name: 'names of headers are in lower case', shownBy: 'header_names', translators: withReference('http.headers.*', ([name = ''], about) => reference('http.headers.*').meaning([name.toLowerCase()], about)) },
  { name: 'the header host is the host', shownBy: 'header_names', translators: withReference('http.headers.*', ([name = ''], about) => reference('http.headers.*').meaning([name === 'host' ? ':authority' : name], about)) },
  { name: 'every peer is verified', shownBy: 'peer_unproven', translators: withReference('svidgate.peer.verified', () => ({ kind: 'constant', value: false })) },
  { name: 'of whatever says the caller', shownBy: 'callers', spoil: { translated: withoutCallers } },
  { name: 'a parameter is a header', shownBy: 'queries', translators: withReference('parsed_query.*', (_keys, about) => reference('parsed_path').meaning([], about)) },
  { name: 'peers that are denied are told all the same', shownBy: 'peer_prefix_but', spoil: { translated: withoutExcept } },
  { name: 'what is denied is forgotten', shownBy: 'not_prefix', spoil: { set: onRequests((match) => (match.kind === 'not' ? ALWAYS : match)) } },
  { name: 'regexes take any text', shownBy: 'split_parts', spoil: { set: withRequests((match) => outsideNots(match, (each) => (isRegex(each) ? ALWAYS : each))) } },
  { name: 'all of many is any of them', shownBy: 'parsed_not', spoil: { set: onRequests((match) => (match.kind === 'all' ? { ...match, kind: 'any' } : match)) } },
  { name: 'bodies are not parsed', shownBy: 'not_prefix', gate: (gate) => ({ ...gate, parsesBodies: false }) },
  { name: 'no token is read', shownBy: 'not_prefix', moment: 'alice and mallory are revoked', gate: (gate) => ({ ...gate, tokenHeaders: [] }) },
  { name: 'exact headers are left out', shownBy: 'header_equal', spoil: { set: withoutHeaderTests } },
  { name: 'revocation is skipped', shownBy: 'peers', moment: 'alice and mallory are revoked', spoil: { facts: (facts) => ({ ...facts, revokedIds: new Set() }) } },
  { name: 'revoked serials are skipped', shownBy: 'peers', moment: 'a serial of alice is revoked', spoil: { facts: (facts) => ({ ...facts, revokedIds: new Set() }) } },
  { name: 'who is revoked may come without being verified', shownBy: 'prefixes', moment: 'alice and mallory are revoked', spoil: { set: withoutExceptions } },
  { name: 'a trust domain that is gone still counts', shownBy: 'peers', moment: 'the partner is gone', spoil: { facts: (facts) => ({ ...facts, trustDomains: new Set([...facts.trustDomains, PARTNER]) }) } },
  { name: 'entries are not asked for', shownBy: 'peers', moment: 'alice has no entry', spoil: { facts: ({ registered: _registered, ...facts }) => facts } },
]; // prettier-ignore

function isRegex(match: RequestMatch): boolean {
  return (
    (match.kind === 'path' || match.kind === 'header') && match.match !== 'present' && match.match.kind === 'regex'
  );
}

function exactly(match: RequestMatch, name: string): string | undefined {
  if (match.kind !== 'header' || match.name !== name || match.match === 'present') return undefined;
  return match.match.kind === 'exact' ? match.match.text : undefined;
}

function anyCase(match: RequestMatch): RequestMatch {
  const method = exactly(match, ':method');
  return method === undefined
    ? match
    : { kind: 'header', name: ':method', match: { kind: 'regex', regex: `(?i)${method}` } };
}

function anyEnding(match: RequestMatch): RequestMatch {
  const path = exactly(match, ':path');
  return path === undefined ? match : { kind: 'header', name: ':path', match: { kind: 'prefix', text: path } };
}

function withoutQuery(match: RequestMatch): RequestMatch {
  const path = exactly(match, ':path');
  return path === undefined ? match : { kind: 'path', match: { kind: 'exact', text: path } };
}

function withoutHeaderTests(set: OffloadSet): OffloadSet {
  return { ...set, allow: set.allow.map(({ headers: _headers, ...rule }) => rule) };
}

function withoutExceptions(set: OffloadSet): OffloadSet {
  const open = (peer: PeerMatch): PeerMatch =>
    peer.kind === 'anyone' ? { kind: 'anyone', except: [] } : { ...peer, except: [] };
  return { ...set, allow: set.allow.map((rule) => ({ ...rule, peer: open(rule.peer) })) };
}
