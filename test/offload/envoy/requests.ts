/** Requests of the comparison with Envoy, as they are written to the wire, and as Envoy is thought to have them. */
import type { EnvoyPeer, EnvoyRequest } from '../../../src/offload/index.ts';
import type { Random } from '../../hunt/random.ts';

export type Pair = readonly [name: string, value: string];

/** All texts are bytes, a character each. */
export interface WireRequest {
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  /** Names as they are written. */
  readonly headers: readonly Pair[];
}

const PATHS = [
  '/',
  '/a',
  '/a/',
  '/a/b',
  '/A/b',
  '/a%2fb',
  '/a%2Fb',
  '/a//b',
  '//a',
  '/a/../b',
  '/a/./b',
  '/..',
  '/a/%2e%2e/b',
  '/a%zz',
  '/a%',
  '/%61',
  '/x.json',
  '/x.JSON',
  '/a?x=1',
  '/a?',
  '/a?x=1?y',
  '/a?x=/b',
  '/a;b',
  '/a;b?x;y',
  '/a b',
  '/a+b',
  '/a%20b',
  '/\xc3\xa9',
  '/%c3%a9',
  '/a\xff',
  '/a%00',
  '/a\\b',
  '/a#b',
  '/a?x#b',
  '/a%0a',
  '/a|b',
  '/a"b',
  "/a'b",
  '/a<b>',
  '/a{b}',
  '/a^b',
  '/a`b',
  '/a~b',
  '/a!b',
  '/a,b',
  '/b',
  '/a/b/c',
  '*',
  'a/b',
  '',
  'http://orders.test/a',
  'http://evil.test',
  '/a\x7f',
  '/a\tb',
  '/a\x80',
];
const METHODS = ['GET', 'GET', 'GET', 'POST', 'HEAD', 'get', 'G', 'OPTIONS', 'PUT'];
const AUTHORITIES = ['orders.test', 'orders.test', 'ORDERS.test', 'orders.test:8080', 'evil.test', 'orders.test.', ''];
const NAMES = [
  'x-role',
  'X-Role',
  'x-a',
  'X-A',
  'x-need',
  'cookie',
  'Cookie',
  'user-agent',
  'content-type',
  'x-other',
  'accept',
];
const VALUES = [
  '',
  'a',
  'A',
  'admin',
  'ADMIN',
  'a,b',
  'a, b',
  ',',
  'b',
  '\xc3\xa9',
  'a\xff',
  'a!',
  'a;b=c',
  'a\tb',
  '\xe2\x84\xaa',
  'aa',
  'a\x80b',
];

export function drawRequest(random: Random): WireRequest {
  const headers = Array.from({ length: random.below(5) }, (): Pair => [random.pick(NAMES), random.pick(VALUES)]);
  if (headers.length > 0 && random.oneIn(3)) headers.push([headers[0]?.[0] ?? '', random.pick(VALUES)]);
  return {
    method: random.pick(METHODS),
    path: random.oneIn(4) ? `/${random.pick(PATHS)}${random.pick(PATHS)}` : random.pick(PATHS),
    authority: random.pick(AUTHORITIES),
    headers,
  };
}

/** How a request comes to Envoy. */
export interface Channel {
  readonly scheme: 'http' | 'https';
  readonly peer?: EnvoyPeer;
  readonly destination: { readonly address: string; readonly port: number };
  readonly serverName: string;
  readonly version: 'HTTP/1.1' | 'HTTP/2';
}

/** Envoy has the header fields as they came: names in lower case, and of an absolute target its parts. */
export function asEnvoyHas(
  request: WireRequest,
  { scheme, peer, destination, serverName, version }: Channel,
): EnvoyRequest {
  const [, host, path = ''] = /^http:\/\/([^/]*)(.*)$/s.exec(request.path) ?? [];
  const headers: readonly Pair[] = request.headers.map(([name, value]): Pair => [name.toLowerCase(), value.trim()]);
  const joined = ['accept', 'user-agent', 'content-type'].reduce((all, name) => withOneOf(name, all), headers);
  return {
    headers: [
      [':method', request.method],
      [':path', host === undefined ? request.path : path === '' ? '/' : path],
      [':authority', host ?? request.authority],
      // As the target says.
      [':scheme', host === undefined ? scheme : 'http'],
      ...(version === 'HTTP/2' ? withOneCookie(joined) : joined),
    ],
    ...(peer === undefined ? {} : { peer }),
    destination,
    serverName,
  };
}

/** Those that Envoy keeps a place for are joined as they come, and an empty one says nothing beside another. */
function withOneOf(wanted: string, headers: readonly Pair[]): readonly Pair[] {
  const values = headers.flatMap(([name, value]) => (name === wanted ? [value] : []));
  if (values.length < 2) return headers;
  const others = headers.filter(([name]) => name !== wanted);
  return [...others, [wanted, values.filter((value) => value !== '').join(',')]];
}

/** In HTTP/2 its pairs may come one by one (RFC 9113 §8.2.3); empty ones before the others are none. */
function withOneCookie(headers: readonly Pair[]): readonly Pair[] {
  const values = headers.flatMap(([name, value]) => (name === 'cookie' ? [value] : []));
  const others = headers.filter(([name]) => name !== 'cookie');
  const joined = values.reduce((before, value) => (before === '' ? value : `${before}; ${value}`), '');
  return joined === '' ? others : [...others, ['cookie', joined]];
}
