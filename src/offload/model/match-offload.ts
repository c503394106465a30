import { BlockList, isIP } from 'node:net';
import type { HeaderTest, OffloadRule, OffloadSet, PeerMatch, RequestMatch, TextMatch } from '../offload-rules.ts';
import { headerOf, headersOf, type EnvoyRequest } from './envoy-request.ts';
import type { Characters } from './character-class.ts';
import { bytesOf, textMatcher } from './text-match.ts';

/** What Envoy makes of a request by a set. */
export interface OffloadMatch {
  /** The rule by which it is allowed without a call; absent: the gate is asked. */
  readonly allow?: string;
  /** Whether it is refused without a call: what may be allowed is known, and this is not among it. */
  readonly refused: boolean;
}

/** What versions of Envoy differ in. */
export interface EnvoyReading {
  /** Several headers of a name: joined by `,`, or each by itself, where one that matches is enough. */
  readonly headers: 'joined' | 'each';
  /** What a character is to a regex. */
  readonly regexes: Characters;
}

/** As versions were seen to read. A rule is safe where it is safe in all of them. */
export const ENVOY_READINGS = {
  '1.36': { headers: 'joined', regexes: 'utf8' },
  '1.40': { headers: 'each', regexes: 'latin1' },
  /** Of one in between; runtime guards can make these, too. */
  mixed: { headers: 'each', regexes: 'utf8' },
} as const satisfies Readonly<Record<string, EnvoyReading>>;

type Matcher = (request: EnvoyRequest, reading: EnvoyReading) => boolean;

/**
 * What Envoy's RBAC filter does with the request by the rules of the set as they are encoded. Throws `unimplemented` for a set with
 * what the model does not know: CEL, and regexes as re2.ts says.
 */
export function matchOffload(
  set: OffloadSet,
  request: EnvoyRequest,
  reading: EnvoyReading = DEFAULT_READING,
): OffloadMatch {
  return offloadMatcher(set)(request, reading);
}

const DEFAULT_READING = ENVOY_READINGS['1.40'];

type OffloadMatcher = (request: EnvoyRequest, reading?: EnvoyReading) => OffloadMatch;
const known = new WeakMap<OffloadSet, OffloadMatcher>();

/** matchOffload() for many requests. */
export function offloadMatcher(set: OffloadSet): OffloadMatcher {
  const found = known.get(set);
  if (found !== undefined) return found;
  const allow = inEnvoysOrder(set.allow).map((rule) => ({ id: rule.id, matches: ruleMatcher(rule) }));
  const outer = set.outer?.map(outerMatcher);
  const made: OffloadMatcher = (request, reading = DEFAULT_READING) => {
    const rule = allow.find(({ matches }) => matches(request, reading));
    const refused = outer !== undefined && !outer.some((matches) => matches(request, reading));
    return rule === undefined ? { refused } : { allow: rule.id, refused };
  };
  known.set(set, made);
  return made;
}

/** The first that matches is named: in the order of the bytes of their names. */
function inEnvoysOrder(rules: readonly OffloadRule[]): readonly OffloadRule[] {
  return [...rules].sort((one, other) => Buffer.compare(Buffer.from(one.id), Buffer.from(other.id)));
}

function ruleMatcher({ request, peer, headers }: OffloadRule): Matcher {
  const [ofRequest, ofPeer] = [requestMatcher(request), peerMatcher(peer)];
  const tests = (headers ?? []).map(headerTestMatcher);
  return (asked, reading) =>
    ofRequest(asked, reading) && ofPeer(asked, reading) && tests.every((matches) => matches(asked, reading));
}

/** By CEL, which joins several of a name in all versions. */
function headerTestMatcher({ name, oneOf }: HeaderTest): Matcher {
  const wanted = new Set(oneOf.map(bytesOf));
  return (request) => {
    const value = headerOf(request, name);
    return value !== undefined && wanted.has(value);
  };
}

/** Whoever may be meant by it, and rather more: a name of a certificate is enough, whether it was verified or not. */
function outerMatcher({ request, peer }: OffloadRule): Matcher {
  const ofRequest = requestMatcher(request);
  if (peer.kind === 'anyone') return ofRequest;
  const wanted = peer.of.map(textMatcher);
  return (asked, reading) =>
    ofRequest(asked, reading) &&
    namesOf(asked).some((name) => wanted.some((matches) => matches(name, reading.regexes)));
}

/** Of its certificate. */
function namesOf({ peer }: EnvoyRequest): readonly string[] {
  return peer === undefined ? [] : [...peer.uris, ...peer.dnsNames, peer.subject];
}

function requestMatcher(match: RequestMatch): Matcher {
  switch (match.kind) {
    case 'always':
      return () => true;
    case 'all': {
      const parts = match.of.map(requestMatcher);
      return (request, reading) => parts.every((matches) => matches(request, reading));
    }
    case 'any': {
      const parts = match.of.map(requestMatcher);
      return (request, reading) => parts.some((matches) => matches(request, reading));
    }
    case 'not': {
      const matches = requestMatcher(match.of);
      return (request, reading) => !matches(request, reading);
    }
    case 'header':
      return headerMatcher(match.name, match.match);
    case 'path': {
      const matches = textMatcher(match.match);
      return (request, { regexes }) => {
        const path = headerOf(request, ':path');
        return path !== undefined && matches(path.replace(/[?#].*$/su, ''), regexes);
      };
    }
    case 'destination_port':
      return ({ destination }) =>
        destination !== undefined && destination.port >= match.from && destination.port <= match.to;
    case 'destination_ip':
      return destinationMatcher(match.address, match.prefixLength);
    case 'server_name': {
      const matches = textMatcher(match.match);
      return ({ serverName }, { regexes }) => matches(serverName, regexes);
    }
  }
}

function headerMatcher(name: string, match: TextMatch | 'present'): Matcher {
  if (match === 'present') return (request) => headerOf(request, name) !== undefined;
  const matches = textMatcher(match);
  return (request, reading) => {
    const values = headersOf(request, name);
    if (reading.headers === 'each') return values.some((value) => matches(value, reading.regexes));
    return values.length > 0 && matches(values.join(','), reading.regexes);
  };
}

function destinationMatcher(address: string, prefixLength: number): Matcher {
  const family = isIP(address);
  const range = new BlockList();
  const kind = family === 6 ? 'ipv6' : 'ipv4';
  range.addSubnet(address, prefixLength, kind);
  return ({ destination }) =>
    destination !== undefined && isIP(destination.address) === family && range.check(destination.address, kind);
}

function peerMatcher(match: PeerMatch): Matcher {
  const except = match.except.map(textMatcher);
  const isOut: Matcher = (request, { regexes }) =>
    namesOf(request).some((name) => except.some((matches) => matches(name, regexes)));
  if (match.kind === 'anyone') {
    // One that is neither verified nor has a name is not seen by Envoy: listeners that take it are none of those that offload.
    if (match.withoutCertificate === true) return ({ peer }) => peer === undefined;
    return (request, reading) => !isOut(request, reading);
  }
  // Of others Envoy cannot be told that there is no second URI SAN: they are not sent.
  const wanted = new Set(match.of.flatMap((one) => (one.kind === 'exact' ? [one.text] : [])));
  return (request, reading) => {
    const { peer } = request;
    const [uri, ...more] = peer?.uris ?? [];
    if (peer?.isVerified !== true || uri === undefined || more.length > 0) return false;
    return wanted.has(uri) && !isOut(request, reading);
  };
}
