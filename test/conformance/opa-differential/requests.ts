import type { CheckRequestInit } from '../../../src/proto/index.ts';
import type { Random } from '../../hunt/random.ts';
import { answer } from './answers.ts';
import { body } from './bodies.ts';
import { authorization } from './tokens.ts';

type Http = NonNullable<NonNullable<NonNullable<CheckRequestInit['attributes']>['request']>['http']>;
type Peer = NonNullable<NonNullable<CheckRequestInit['attributes']>['source']>;

/** A check request as Envoy sends them, and now and then as it never would. */
export function checkRequest(random: Random, policy: string): CheckRequestInit {
  const request = random.oneIn(40) ? {} : { time: time(random), ...(random.oneIn(40) ? {} : { http: http(random) }) };
  return {
    attributes: {
      ...(random.oneIn(25) ? {} : { source: peer(random) }),
      ...(random.oneIn(4) ? { destination: peer(random) } : {}),
      ...(random.oneIn(60) ? {} : { request }),
      contextExtensions: {
        'svidgate.policy': policy,
        ...(random.oneIn(4) ? { tier: random.pick(['open', 'closed', '']) } : {}),
      },
      ...(random.oneIn(3) ? { metadataContext: metadata(random) } : {}),
      ...(random.oneIn(10) ? { routeMetadataContext: metadata(random) } : {}),
      ...(random.oneIn(4) ? { tlsSession: { sni: random.pick(['orders.example.test', 'people.test', '']) } } : {}),
    },
  };
}

function time(random: Random): { readonly seconds: number; readonly nanos: number } {
  const seconds = random.pick([
    0,
    1,
    951_782_400,
    1_600_000_000 + random.below(200_000_000),
    1_700_000_000,
    253_402_300_799,
  ]);
  return { seconds, nanos: random.pick([0, 1, 123_456_789, 999_999_999]) };
}

function peer(random: Random): Peer {
  const principals = [
    'spiffe://example.test/ns/shop/sa/web',
    'spiffe://example.test/ns/crm/sa/web',
    'spiffe://eu.example.test/web',
    'spiffe://example.test/ns/shop/sa/web?x=1#y',
    'CN=web,O=Example',
    'web.example.test',
    'ünï',
    '',
  ];
  return {
    ...(random.oneIn(12) ? {} : { address: address(random) }),
    principal: random.pick(principals),
    ...(random.oneIn(5) ? { service: random.pick(['web', 'wéb']) } : {}),
    ...(random.oneIn(3) ? { labels: { zone: random.pick(['eu', 'us']), 'app.kubernetes.io/name': 'web' } } : {}),
    ...(random.oneIn(10) ? { certificate: '-----BEGIN%20CERTIFICATE-----%0AMIIB%0A' } : {}),
  };
}

function address(random: Random): NonNullable<Peer['address']> {
  if (random.oneIn(8)) return { pipe: { path: '/run/app.sock', mode: random.pick([0, 0o600]) } };
  if (random.oneIn(15))
    return { envoyInternalAddress: { serverListenerName: 'inner', endpointId: random.pick(['', 'a']) } };
  const addresses = [
    '203.0.113.9',
    '203.0.113.9',
    '198.51.100.200',
    '10.1.2.3',
    '192.0.2.7',
    '::ffff:10.255.0.1',
    '::ffff:203.0.113.9',
    '2001:db8::1',
    'fd00::1',
    'not an address',
    '10.1.2.3/32',
    '010.1.2.3',
    '',
  ];
  const socket = { address: random.pick(addresses), protocol: random.pick([0, 0, 1]) };
  if (random.oneIn(10))
    return { socketAddress: { ...socket, namedPort: 'https', resolverName: 'dns', ipv4Compat: true } };
  return { socketAddress: { ...socket, portValue: random.pick([0, 443, 40_000 + random.below(1000)]) } };
}

function metadata(random: Random): NonNullable<NonNullable<CheckRequestInit['attributes']>['metadataContext']> {
  if (random.oneIn(5)) return {};
  const claims = {
    fields: {
      tier: { stringValue: random.pick(['gold', 'silver']) },
      n: { numberValue: random.pick([0, -1.5, 12_345_678_901_234_568, 1e21, 1e-7, 5e-324, 1.7976931348623157e308]) },
      list: { listValue: { values: [{ boolValue: true }, { nullValue: 0 as const }, { stringValue: 'ü' }] } },
    },
  };
  return {
    filterMetadata: { 'envoy.filters.http.jwt_authn': { fields: { claims: { structValue: claims } } } },
    ...(random.oneIn(3)
      ? { typedFilterMetadata: { typed: { type_url: 'type.googleapis.com/a.B', value: Buffer.from([8, 1, 255]) } } }
      : {}),
  };
}

const METHODS = [
  'GET',
  'GET',
  'GET',
  'GET',
  'POST',
  'POST',
  'HEAD',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'get',
  'M-SEARCH',
  '',
];

function http(random: Random): Http {
  const target = path(random);
  const content = body(random);
  const headers = { ...someHeaders(random, target), ...content.headers };
  return {
    id: String(10_000_000 + random.below(1_000_000)),
    method: random.pick(METHODS),
    path: target,
    host: random.pick(['orders.example.test', 'orders.example.test:8443', '']),
    scheme: random.pick(['https', 'http', '']),
    protocol: random.pick(['HTTP/1.1', 'HTTP/2', '']),
    ...(random.oneIn(4) ? { size: random.pick([-1, 0, 5, 9_007_199_254_740_991]) } : {}),
    ...(random.oneIn(20) ? { query: 'q=1', fragment: 'top' } : {}),
    ...(random.oneIn(25)
      ? {
          headerMap: {
            headers: [
              { key: 'x-raw', rawValue: Buffer.from([0xff, 0x41]) },
              { key: 'X-Two', value: '2' },
            ],
          },
        }
      : {}),
    ...(random.oneIn(30) ? {} : { headers }),
    ...content.parts,
  };
}

const SEGMENTS = [
  'people',
  'people',
  'orders',
  'files',
  'health',
  'v1',
  'v2',
  'v3',
  'a',
  'b',
  'c',
  'd',
  '7',
  'alice',
  'own',
  '',
  '.',
  '..',
  '...',
  '%2e%2e',
  '%2F',
  'a%20b',
  'a+b',
  '%C3%BC',
  'ü',
  '%ff',
  '%00',
  '%25',
  '%zz',
  '%4',
  '*',
  '{id}',
  ';v=1',
  'a,b',
  'a:b',
  '\\',
  '🙂',
  'x'.repeat(200),
];

function path(random: Random): string {
  const usual = [
    '/people',
    '/people',
    '/people/7',
    '/people/alice/orders/3',
    '/orders',
    '/files/a/b.txt',
    '/health',
    '/',
    '/v1/people',
    '/alice/own',
  ];
  const few = Array.from({ length: random.below(5) }, () => random.pick(SEGMENTS)).join('/');
  const start = random.pick([
    ...usual,
    ...usual,
    `/${few}`,
    `//${few}`,
    few,
    '',
    '*',
    'http://orders.test/people',
    '/people/',
    '/people#top',
  ]);
  return `${start}${query(random)}`;
}

const PARAMETERS = [
  'q=deny',
  'q=aä1 b',
  'q=a+b',
  'q=%F0%9F%99%82',
  'q',
  '=x',
  '&',
  'page=1',
  'page=2&page=3',
  'token=t',
  'debug=1',
  'debug_x=2',
  'a=b=c',
  'ü=ö',
  '%C3%BC=%C3%B6',
  'x=%zz',
  'x=1;y=2',
  'x=%3B',
  'q=%00',
  '__proto__=1',
  'constructor=2',
  'q=<&>"',
  'a[]=1&a[]=2',
  'q=??#',
];

function query(random: Random): string {
  if (random.oneIn(3)) return '';
  const count = random.below(4);
  return `?${Array.from({ length: count }, () => random.pick(PARAMETERS)).join('&')}`;
}

const TEXTS = [
  '',
  'deny',
  'abc',
  'a1b2',
  'ÄÖÜ ß',
  'a"b\\c',
  '<script>&amp;',
  'İıſK',
  'e\u0301é',
  '🙂👩‍👩‍👧',
  '\u200b\ufeff',
  'a,b;c|d',
  '  padded\t',
  '%41',
  'null',
  '{"a":1}',
  'x'.repeat(500),
  '\u2028line',
  'ﬀ',
];

/** Header by header: how often, and its values. */
const HEADERS: readonly (readonly [name: string, oneIn: number, values: readonly string[]])[] = [
  ['x-role', 2, ['admin', 'guest', 'guest-7', 'editor', 'nobody', 'Admin', '']],
  ['x-as', 6, ['GET', 'DELETE', 'nobody', 'POST']],
  ['x-version', 2, ['1', '2', '3', '2.5', 'two', '', '1e3', '-1', '0x10', ' 2']],
  ['x-canary', 5, ['yes', '']],
  ['x-tenant', 2, ['t-1', 't-2', '', 'other']],
  ['x-blocked', 6, ['yes', 'no']],
  ['x-strict', 4, ['1']],
  ['x-text', 2, TEXTS],
  ['x-size', 4, ['10', '1KB', '1.5MiB', '2G', '', 'KB', '-1', '1e3', '0.1kb', '1 MB', '99999999999999999999TB']],
  ['x-until', 4, ['2023-11-15T00:00:00Z', '2030-01-02T03:04:05.678+02:00', 'tomorrow', '2023-02-30T00:00:00Z', '']],
  [
    'x-forwarded-for',
    3,
    [
      '203.0.113.1',
      '203.0.113.1, 10.0.0.1',
      '10.0.0.1',
      '::ffff:10.9.9.9',
      ' 203.0.113.2 ,203.0.113.3',
      'unknown',
      ',',
    ],
  ],
  ['user-agent', 2, ['curl/8', 'Mozilla/5.0 (X11; Linux)', '']],
  ['accept', 3, ['application/json', 'text/html,*/*;q=0.8', '*/*']],
  ['cookie', 5, ['a=b; c=d', 'session=%22x%22']],
  ['x-debug', 6, ['1']],
  ['X-Upper', 12, ['Case']],
  ['__proto__', 20, ['x']],
  ['constructor', 20, ['x']],
];

function someHeaders(random: Random, target: string): Readonly<Record<string, string>> {
  const headers = new Map<string, string>();
  if (!random.oneIn(5)) {
    headers.set(':path', target).set(':method', 'GET').set(':authority', 'orders.example.test').set(':scheme', 'https');
  }
  for (const [name, oneIn, values] of HEADERS) if (random.oneIn(oneIn)) headers.set(name, random.pick(values));
  if (!random.oneIn(4)) headers.set('authorization', authorization(random));
  if (!random.oneIn(6)) headers.set('x-answer', answer(random));
  // fromEntries defines properties, so that the key __proto__ is one like any other.
  return Object.fromEntries(headers);
}
