/** Sets of rules by chance, over what the requests of the comparison have. */
import type {
  HeaderTest,
  OffloadRule,
  OffloadSet,
  PeerMatch,
  RequestMatch,
  TextMatch,
} from '../../../src/offload/index.ts';
import { createRandom, type Random } from '../../hunt/random.ts';

const PATH_TEXTS = [
  '/',
  '/a',
  '/a/',
  '/a/b',
  '/A/b',
  '/a%2fb',
  '/a//b',
  '/a/../b',
  '.json',
  'b',
  '%20',
  '/é',
  '?',
  '?x=1',
  '/a?x=1',
  '/a;b',
];
const PATH_REGEXES = [
  '/a(?:/[^/]*)?',
  '/[a-z]+',
  '(?i)/a/b',
  '[^%]*',
  '(?:[^%]|%[0-9a-fA-F]{2})*',
  '/a/.*',
  '.*[.]json',
  '(?s)/.*b',
  '/a\\C*',
  '[^?;]*(?:\\?[^;]*)?',
  '/\\w+/\\w*',
  '/(?:a|A)/[^é]*',
  '',
  '/+a',
  '.*\\bb\\b.*',
  '/[[:alpha:]]+',
];
const VALUE_TEXTS = ['', 'a', 'A', 'admin', 'a,b', 'a, b', ',', 'b', 'é', 'a!', ' ', 'a;b=c'];
const VALUE_REGEXES = ['a.*', '[^,]*', '.+', '(?i)ADMIN', '[a-z]+(?:,[a-z]+)*', '', '\\C+', 'é|a', '[^é]+', '.', 'a.?'];
const NAMES = [
  'x-role',
  'x-a',
  'x-need',
  'host',
  'cookie',
  ':authority',
  ':path',
  ':method',
  ':scheme',
  'user-agent',
  'content-type',
  'X-Role',
];
const HOSTS = ['orders.test', 'ORDERS.test', 'orders.test:8080', 'evil.test'];
const METHODS = ['GET', 'POST', 'get', 'G', 'HEAD'];
const SERVER_NAMES = ['orders.test', 'test', '', 'ORDERS.TEST'];
export const PEER_IDS = ['alice', 'bob', 'carol'].map((name) => `spiffe://example.test/${name}`);

/** The first of 20: many rules, so that requests match some. */
export function drawSet(seed: number, policy: string): OffloadSet {
  const random = createRandom(seed, 11);
  const allow = Array.from({ length: 1 + random.below(7) }, (_, index) =>
    drawRule(random, `${random.pick(['r', 'R', 'a'])}${index}`),
  );
  const outer = random.oneIn(4) ? [drawRule(random, 'outer-a'), drawRule(random, 'outer-b')] : undefined;
  return { policy, policyDigest: '', allow, ...(outer === undefined ? {} : { outer }) };
}

function drawRule(random: Random, id: string): OffloadRule {
  const rule = { id, request: drawMatch(random, 3), peer: drawPeer(random), origin: [] };
  return random.oneIn(3) && !id.startsWith('outer') ? { ...rule, headers: [drawTest(random)] } : rule;
}

function drawTest(random: Random): HeaderTest {
  const texts = [random.pick(VALUE_TEXTS), ...(random.oneIn(2) ? [random.pick(VALUE_TEXTS)] : [])] as const;
  return { name: random.pick(['x-role', 'x-a', 'x-need', 'cookie', 'user-agent']), oneOf: texts };
}

function drawPeer(random: Random): PeerMatch {
  const except: TextMatch[] = random.oneIn(3)
    ? [{ kind: random.pick(['exact', 'prefix']), text: random.pick(PEER_IDS) }]
    : [];
  if (random.oneIn(5)) except.push({ kind: 'exact', text: random.pick(['alice.example.test', 'CN=subject']) });
  if (random.below(3) > 0) {
    const isWithout = random.oneIn(5);
    return { kind: 'anyone', except, ...(isWithout ? { withoutCertificate: true } : {}) };
  }
  const more: TextMatch[] = random.oneIn(2) ? [{ kind: 'exact', text: random.pick(PEER_IDS) }] : [];
  return { kind: 'peers', of: [{ kind: 'exact', text: random.pick(PEER_IDS) }, ...more], except };
}

function drawMatch(random: Random, depth: number): RequestMatch {
  const kind = depth === 0 ? 6 + random.below(10) : random.below(16);
  switch (kind) {
    case 0:
    case 1:
      return { kind: 'all', of: [drawMatch(random, depth - 1), drawMatch(random, depth - 1)] };
    case 2:
    case 3:
      return { kind: 'any', of: [drawMatch(random, depth - 1), drawMatch(random, depth - 1)] };
    case 4:
    case 5:
      return { kind: 'not', of: drawMatch(random, depth - 1) };
    case 6:
      return random.oneIn(4) ? { kind: 'always' } : drawPlace(random);
    case 7:
    case 8:
    case 9:
    case 10:
      return { kind: 'path', match: drawText(random, PATH_TEXTS, PATH_REGEXES) };
    default:
      return drawHeader(random);
  }
}

function drawHeader(random: Random): RequestMatch {
  const name = random.pick(NAMES);
  if (random.oneIn(5)) return { kind: 'header', name, match: 'present' };
  return {
    kind: 'header',
    name,
    match: drawText(random, textsOf(name), name === ':path' ? PATH_REGEXES : VALUE_REGEXES),
  };
}

function textsOf(name: string): readonly string[] {
  if (name === ':path') return PATH_TEXTS;
  if (name === ':method') return METHODS;
  return name === ':authority' || name === 'host' ? HOSTS : VALUE_TEXTS;
}

/** Ports and addresses that connections of the comparison go to, and others. */
function drawPlace(random: Random): RequestMatch {
  switch (random.below(3)) {
    case 0:
      return {
        kind: 'destination_port',
        from: random.pick([1, 1024, 30_000]),
        to: random.pick([30_000, 40_000, 65_535]),
      };
    case 1:
      return { kind: 'destination_ip', address: random.pick(['127.0.0.0', '10.0.0.0', '::1']), prefixLength: 8 };
    default:
      return { kind: 'server_name', match: drawText(random, SERVER_NAMES, ['.*', '[^.]*', 'orders\\.test']) };
  }
}

function drawText(random: Random, texts: readonly string[], regexes: readonly string[]): TextMatch {
  if (random.oneIn(4)) return { kind: 'regex', regex: random.pick(regexes) };
  return { kind: random.pick(['exact', 'exact', 'prefix', 'suffix', 'contains']), text: random.pick(texts) };
}
