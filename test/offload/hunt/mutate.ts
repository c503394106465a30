import type { Random } from '../../hunt/random.ts';
import { BILLING, ORDERS, type Draw, type Pair } from './draw.ts';

type Part = Partial<Draw>;

/** What a request may be changed with: names of people, and texts that the policy names. */
export interface Vocabulary {
  readonly certificates: readonly string[];
  readonly tokens: readonly string[];
  readonly hops: readonly string[];
  /** Texts of the policy. */
  readonly words: readonly string[];
}

/** A request that differs in one thing. */
export function mutate(draw: Draw, random: Random, vocabulary: Vocabulary): Draw {
  const half = random.below(10);
  const kind = half < 5 ? PATH_WAYS : half < 8 ? HEADER_WAYS : OTHER_WAYS;
  return { ...draw, ...random.pick(kind)(draw, random, vocabulary) };
}

const splitPath = (path: string): readonly [path: string, query: string] => {
  const mark = path.indexOf('?');
  return mark === -1 ? [path, ''] : [path.slice(0, mark), path.slice(mark)];
};

const onPath =
  (change: (path: string, random: Random, vocabulary: Vocabulary) => string) =>
  (draw: Draw, random: Random, vocabulary: Vocabulary): Part => {
    const [path, query] = splitPath(draw.path);
    return { path: change(path, random, vocabulary) + query };
  };

const at = (text: string, random: Random, piece: string, removed = 0): string => {
  const place = random.below(text.length + 1);
  return text.slice(0, place) + piece + text.slice(place + removed);
};

const hex = (character: string): string => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`;

/** One character of the path, written otherwise. */
const escapeOne = (path: string, random: Random): string => {
  if (path.length < 2) return path;
  const place = 1 + random.below(path.length - 1);
  const escaped = hex(path[place] ?? 'x');
  return path.slice(0, place) + (random.oneIn(2) ? escaped : escaped.toUpperCase()) + path.slice(place + 1);
};

const PIECES = [
  '/',
  '//',
  '/.',
  '/..',
  '/./',
  '/../',
  '/..%2f',
  '%2f',
  '%2F',
  '%5c',
  '\\',
  ';',
  ';x=1',
  '%3b',
  '%00',
  '%zz',
  '%',
  '%2',
  '%25',
  '%252f',
  '%20',
  '+',
  ' ',
  '.',
  '..',
  '%2e',
  '%2e%2e',
  'é',
  'Ã©',
  '%c3%a9',
  '%ff',
  '%c0%af',
  '!',
  '~',
  '*',
  '**',
  ':',
  '@',
  '&',
  '=',
  '%0a',
  '%0d%0a',
  '%09',
  '%3f',
  '%23',
  '%61',
  'a',
  'A',
  '0',
  '|',
  '"',
  "'",
  '$',
  '(',
  ')',
  '[',
  ']',
  '{',
  '}',
  '^',
];

const QUERIES = [
  '?',
  '?x=1',
  '?debug',
  '?debug=1',
  '?id=7',
  '?id=8',
  '?id=7&id=8',
  '?id=8&id=7',
  '?ID=7',
  '?%69d=7',
  '?id=%37',
  '?id=%zz',
  '?%zz',
  '?a;b',
  '?id=7;x',
  '?id=7%3bx',
  '?id=7&',
  '?&id=7',
  '?id',
  '?id=',
  '?id=+7',
  '?id=7+',
  '?id=7%20',
  '??',
  '?/open',
  '?x=/orders',
  '?x=.json',
  '?.json',
  '?/v1/',
  '?id=7?',
  '?%',
  '?=7',
  '?id==7',
  '?debug=&id=7',
  '?%ff=1',
  '?id=%ff',
];

type Way = (draw: Draw, random: Random, vocabulary: Vocabulary) => Part;

const PATH_WAYS: readonly Way[] = [
  onPath((path, random) => at(path, random, random.pick(PIECES))),
  onPath((path, random) => path + random.pick(PIECES)),
  onPath((path, random) => random.pick(PIECES) + path),
  onPath(escapeOne),
  onPath(escapeOne),
  onPath((path, random) => at(path, random, '', 1)),
  onPath((path, random) => (random.oneIn(2) ? path.toUpperCase() : path.replace(/[a-z]/, (one) => one.toUpperCase()))),
  onPath((path) => (path.endsWith('/') ? path.slice(0, -1) : `${path}/`)),
  onPath((path, random, { words }) => `${path}/${random.pick([...words, 'x'])}`),
  onPath((path, random, { words }) => `/${random.pick([...words, 'x'])}${path}`),
  onPath((path) => path.slice(0, Math.max(1, path.lastIndexOf('/')))),
  onPath((path, random) => path.replaceAll('/', random.pick(['//', '%2f', '\\', '/./']))),
  (_, random, { words }) => ({ path: random.pick(['/', ...words.map((word) => `/${word.replace(/^\//, '')}`)]) }),
  ({ path }, random) => ({ path: splitPath(path)[0] + random.pick(QUERIES) }),
  ({ path }, random) => ({ path: path + random.pick(['&', '?', '&id=7', ';', '&debug', '%']) }),
  (_, random) => ({ path: random.pick(['*', '', '/', '//', 'orders/7', 'http://x/orders/7', '/?', '/%']) }),
];

const lines = (words: readonly string[]): readonly string[] => [
  ...words,
  '',
  'y',
  'b',
  ' ',
  'a,b',
  ',',
  'Ã©',
  'a\xff',
  '!',
  'A!',
];

const onHeader =
  (change: (pair: Pair, random: Random, vocabulary: Vocabulary) => readonly Pair[]): Way =>
  ({ headers }, random, vocabulary) => {
    if (headers.length === 0) return {};
    const place = random.below(headers.length);
    return { headers: headers.flatMap((pair, index) => (index === place ? change(pair, random, vocabulary) : [pair])) };
  };

const NAMES = [
  'x-role',
  'x-need',
  'x-block',
  'x-bad',
  'x-a',
  'x-tenant',
  'x-method',
  'x-name',
  'x-rule',
  'cookie',
  'host',
  'content-type',
  'content-length',
  'authorization',
  'x-forwarded-client-cert',
  'x-envoy-auth-partial-body',
  'user-agent',
  'accept',
  'origin',
];

const HEADER_WAYS: readonly Way[] = [
  onHeader(() => []),
  onHeader((pair) => [pair, pair]),
  onHeader(([name, value], random, { words }) => [
    [name, value],
    [name, random.pick(lines(words))],
  ]),
  onHeader(([name, value], random, { words }) => [
    [name, random.pick(lines(words))],
    [name, value],
  ]),
  onHeader(([name], random, { words }) => [[name, random.pick(lines(words))]]),
  onHeader(([name, value], random) => [
    [name, at(value, random, random.pick(['x', ',', ' ', 'a', '\xc3\xa9', '\xff', '!']))],
  ]),
  onHeader(([name, value], random) => [[name, at(value, random, '', 1)]]),
  onHeader(([name, value]) => [[name, value.toUpperCase()]]),
  onHeader(([, value], random) => [[random.pick(NAMES), value]]),
  ({ headers }, random, { words }) => ({ headers: [...headers, [random.pick(NAMES), random.pick(lines(words))]] }),
  ({ headers }, random, { words }) => ({ headers: [[random.pick(NAMES), random.pick(lines(words))], ...headers] }),
  ({ headers }, random) => ({ headers: [...headers, random.pick(BODIES_TYPES)] }),
];

const BODIES_TYPES: readonly Pair[] = [
  ['content-type', 'application/json'],
  ['content-type', 'application/x-www-form-urlencoded'],
  ['content-type', 'text/plain; was=application/json'],
  ['content-type', 'multipart/form-data; boundary=x'],
  ['content-type', 'application/grpc'],
  ['content-length', 'x'],
];

const OTHER_WAYS: readonly Way[] = [
  (_, random, { certificates }) => ({ certificate: random.pick(certificates) }),
  (_, random, { certificates }) => ({ certificate: random.pick(certificates) }),
  () => ({ certificate: 'none' }),
  (_, random) => ({
    callerIds: random.pick([[ORDERS], [BILLING], [ORDERS, BILLING], ['spiffe://example.test/other']]),
  }),
  ({ method }, random) => ({
    method: random.pick(['GET', 'POST', 'DELETE', 'HEAD', 'get', 'Get', `${method}X`, 'OPTIONS', 'CONNECT']),
  }),
  ({ authority }, random) => ({
    authority: random.pick([
      'orders.test',
      'ORDERS.test',
      'orders.test:8080',
      'orders.test.',
      'evil.test',
      '',
      authority.toUpperCase(),
    ]),
  }),
  (_, random) => ({ port: random.pick([80, 443, 8080, 8081, 9000]) }),
  (_, random) => ({ serverName: random.pick(['', 'orders.test', 'ORDERS.TEST', 'evil.test', 'orders.test.']) }),
  (_, random, { tokens }) => ({ token: random.pick(tokens) }),
  (_, random, { hops }) => ({ hops: random.pick(hops), certificate: 'gateway' }),
  ({ headers }, random) => ({
    headers: [...headers, random.pick(BODIES_TYPES)],
    body: random.pick(['{', '{}', '{"a":1}', 'a=b', 'a=%zz', 'a;b', '', 'null', '--x']),
  }),
];
