import { ODD_WAYS, PLAIN_CASE, type Case, type Pair, type WireStyle } from './case.ts';
import { id } from './people.ts';
import { RULE_NAMES, type PolicyName, type RuleName } from './policies.ts';
import { createRandom, type Random } from './random.ts';
import type { Cast } from './reading.ts';
import { drawEdits } from './wire.ts';

/** The case of this number. Most are meant to be allowed, and then spoiled in some of their parts. */
export function drawCase(seed: number, index: number, cast: Cast): Case {
  const random = createRandom(seed, index);
  const aim = random.pick(AIMS);
  let drawn: Case = { ...PLAIN_CASE, ...aim(random, cast) };
  for (let spoils = random.pick(SPOILS); spoils > 0; spoils -= 1) {
    drawn = { ...drawn, ...random.pick(SPOILERS)(random, drawn, cast) };
  }
  // What a changed header of hops says is read by the gate alone.
  const style = drawStyle(random);
  if (random.oneIn(3) && !(style.kind === 'mutated' && drawn.xfcc !== 'none')) drawn = { ...drawn, wire: style };
  if (random.oneIn(15)) drawn = { ...drawn, deadlineMs: random.pick([1, 2, 5, 15, 50, 10_000, 2 ** 40, 0, -5]) };
  return random.oneIn(25) ? { ...drawn, cancelMs: random.below(6) } : drawn;
}

const SPOILS = [0, 0, 0, 1, 1, 1, 2, 2, 3];

type Part = Partial<Case>;

const of = (name: Exclude<PolicyName, 'rules'> | RuleName, part: Part): Part => {
  const isRule = RULE_NAMES.some((rule) => rule === name);
  const extensions: readonly Pair[] = isRule ? [RULES, ['rule', name]] : [['svidgate.policy', name]];
  return { extensions, ...part };
};
const RULES: Pair = ['svidgate.policy', 'rules'];

const AIMS: readonly ((random: Random, cast: Cast) => Part)[] = [
  () => ({ path: '/open' }),
  () => ({ path: '/open', caller: 'anonymous' }),
  (random) => ({ method: random.pick(['GET', 'POST']), path: '/orders/7', certificate: 'alice' }),
  (random) => ({ path: random.pick(['/orders/public/1', '/orders/public', '/orders']), certificate: 'bob' }),
  () => ({ path: '/catalog/1', certificate: 'shop' }),
  () => ({ path: '/bills', certificate: 'alice again' }),
  () => ({ method: 'PUT', path: '/orders/7', certificate: 'carol' }),
  (random) =>
    of('denylist', {
      path: '/things',
      headers: [['x-need', 'y']],
      certificate: random.pick(['alice', 'bob', 'mallory']),
    }),
  (random) =>
    of('negation', {
      path: random.pick(['/a', '/private', '']),
      headers: [['x-way', random.pick(['function', 'member', 'equal', 'every'])]],
      certificate: random.pick(['alice', 'mallory', 'none']),
    }),
  (random) => of('body', { method: 'POST', ...drawBody(random) }),
  (random) => of('body', { method: 'POST', ...drawBody(random), rawBody: true }),
  (random) => of('tokens', { token: random.pick(['good', 'good', 'guest', 'for an hour', 'good by the next key']) }),
  (random) => of('tokens', { token: `once ${random.below(400)}` }),
  () => of('tokens', { token: 'svid', path: '/svid' }),
  (random, { people }) => of('tokens', { token: random.pick([...people.tokens.keys()]), path: '/svid' }),
  (random) =>
    of('object', {
      headers: [
        ['x-shape', random.pick(SHAPES)],
        ['x-role', 'admin'],
        ['x-a', 'b'],
      ],
    }),
  () => of('faulty', { headers: [['x-open', 'sesame']] }),
  () => of('hops', { certificate: 'gateway', xfcc: 'good' }),
  (random, { hops }) => of('hops', { certificate: 'gateway', xfcc: random.pick([...hops.keys()]) }),
  () => of('principal', { certificate: 'alice' }),
  () => of('principal', { principal: id('alice') }),
];

const SHAPES = [
  'full',
  'full',
  'full',
  'echo',
  'metadata',
  'text',
  'without',
  'path',
  'success',
  'wrong',
  'array',
  'number',
  'string',
  'null',
  '',
];

function drawBody(random: Random): Part {
  const type = random.pick(TYPES);
  const body = random.pick(type.includes('form') && !random.oneIn(5) ? FORMS : JSONS);
  const length = random.pick<readonly Pair[]>([
    [],
    [['content-length', String(Buffer.byteLength(body))]],
    [
      [
        'content-length',
        random.pick(['0', '-2', '+7', '', ' 7', '7,7', '7.0', '9e9', '99999999', '18446744073709551616']),
      ],
    ],
  ]);
  return { body, headers: [['content-type', type], ...length] };
}

const TYPES = [
  'application/json',
  'application/json',
  'application/json; charset=utf-8',
  'text/plain; was=application/json',
  'application/x-www-form-urlencoded',
  'Application/JSON',
  'application/vnd.api+json',
  'application/grpc',
  'text/xml',
  '',
];
const JSONS = [
  '{"amount":5,"currency":"EUR"}',
  '{"amount":100,"currency":"EUR"}',
  '{"amount":101,"currency":"EUR"}',
  '{"amount":1e400,"currency":"EUR"}',
  '{"amount":"5","currency":"EUR"}',
  '{"amount":null,"currency":"EUR"}',
  '{"currency":"EUR"}',
  '{"amount":[],"currency":"EUR"}',
  '{"amount":5,"currency":"EUR","amount":500}',
  '{"amount":5,"currency":"EUR"}x',
  '{"amount":5,"currency":"EUR"',
  '[{"amount":5,"currency":"EUR"}]',
  'null',
  ' ',
  '',
  '{"__proto__":{"amount":5},"currency":"EUR"}',
  '{"currency":["FORM"]}',
  '{"currency":"FORM"}',
  '{"currency":{"a":"FORM"}}',
  '{"amount":9007199254740993,"currency":"EUR"}',
  `{"a":${'['.repeat(3000)}${']'.repeat(3000)},"amount":5,"currency":"EUR"}`,
];
const FORMS = [
  'currency=FORM',
  'currency=FORM&x=1',
  'currency=FORM&currency=FORM',
  'currency=%46ORM',
  'currency=FORM;a=b',
  'currency=FO%zzRM',
  'currency=EUR&amount=5',
  'currency',
  '',
];

function drawStyle(random: Random): WireStyle {
  const kind = random.below(8);
  if (kind < 3) return { kind: 'mutated', edits: drawEdits(random.below(2 ** 31)) };
  if (kind < 7) return { kind: 'odd', how: random.pick(ODD_WAYS) };
  const [field, how] = [
    random.pick(['method', 'path', 'certificate'] as const),
    random.pick(['wire_type', 'utf8'] as const),
  ];
  return { kind: 'broken', field, how };
}

const PATHS = [
  '',
  '/',
  '/open',
  '//open',
  '/open/',
  '/open?x=1',
  '/open?a;b',
  '/open?%zz',
  '/open%zz',
  '/%6fpen',
  '/open%2f..%2fadmin',
  '/orders/../admin',
  '/orders%2f7',
  '/orders%5c7',
  '/orders\\7',
  '/orders//7',
  '/./orders',
  '/ORDERS',
  'orders/7',
  '*',
  '/admin',
  '//admin',
  '/%61dmin',
  '/orders/7?debug=1',
  '/orders/7?%64ebug',
  '/things?debug',
  '/spin',
  '/grow',
  '/private/x',
  `/orders/${'x'.repeat(9000)}`,
  '/orders/\u0000',
  '/orders/é',
  '/orders/%ff',
  '/orders?a=%ff',
  'http://evil.test/orders',
];
const METHODS = ['GET', 'get', 'POST', 'PUT', 'DELETE', '', 'OPTIONS', 'GET ', 'CONNECT'];
const NAMES = [
  'x-need',
  'x-block',
  'x-bad',
  'x-way',
  'x-role',
  'x-shape',
  'x-open',
  'x-shut',
  'x-a',
  'X-Block',
  'content-type',
  'constructor',
  '__proto__',
  'toString',
  'x-envoy-auth-partial-body',
  'content-length',
  '',
  ':path',
  'host',
];
const VALUES = [
  '',
  'y',
  'bad',
  'evil',
  'an evil one',
  'admin',
  'sesame',
  'full',
  'equal',
  'yes',
  'true',
  'a\r\nb',
  'é',
  '\u0000',
  '{}',
  'application/json',
  'function',
];
/** Of them few: they cost an evaluation thread, or a lot of memory to write. */
const COSTLY = ['/spin', '/grow'];

const SPOILERS: readonly ((random: Random, drawn: Case, cast: Cast) => Part)[] = [
  (random) => {
    const path = random.pick(PATHS);
    return COSTLY.includes(path) && !random.oneIn(50) ? {} : { path };
  },
  (random) => ({ method: random.pick(METHODS) }),
  (random, { headers }) => ({ headers: [...headers, [random.pick(NAMES), random.pick(VALUES)]] }),
  (random, { headers }) => ({ headers: [[random.pick(NAMES), random.pick(VALUES)], ...headers] }),
  (random, { headers }) => ({ headers: headers.filter(() => random.oneIn(2)) }),
  (random, { headers }) => ({
    headers: [...headers, ...Array.from({ length: random.below(40) }, (): Pair => [`x-${random.below(90)}`, 'z'])],
  }),
  (random, _, { people }) => ({ certificate: random.pick([...people.credentials.keys()]) }),
  (random, _, { people }) => ({ certificate: random.pick([...people.credentials.keys()]) }),
  (random) => ({ certificate: 'none', principal: random.pick([id('alice'), id('bob'), 'none']) }),
  (random) => ({
    principal: random.pick([
      'none',
      'match',
      id('alice'),
      id('bob'),
      id('mallory'),
      'CN=alice',
      'spiffe://evil.test/alice',
      `${id('alice')}\u0000`,
    ]),
  }),
  (random, _, { people }) => ({ token: random.pick([...people.tokens.keys()]) }),
  (random, _, { hops }) => ({ xfcc: random.pick([...hops.keys()]) }),
  (random) => ({ caller: random.pick(['anonymous', 'attested'] as const) }),
  () => ({ rawHeaders: true }),
  (random, { body }) => ({ body: random.oneIn(2) ? '' : body.slice(1), rawBody: random.oneIn(2) }),
  (random, { extensions }) => ({
    extensions: random.pick<readonly Pair[]>([
      [],
      [
        [
          'svidgate.policy',
          random.pick(['', 'constructor', '__proto__', 'toString', 'nobody', 'broken', 'DEFAULT', 'default ']),
        ],
      ],
      [...extensions, ['svidgate.policy', random.pick(['default', 'rules', 'faulty'])]],
      [...extensions, ['rule', random.pick(['principal', 'faulty', 'default', 'constructor', ''])]],
      [RULES, ['rule', 'principal'], ...extensions],
      [...extensions, ['svidgate.Policy', 'rules'], ['__proto__', 'x'], ['constructor', 'default']],
    ]),
  }),
  (random, drawn) => (random.oneIn(400) ? { headers: [...drawn.headers, ['x-large', 'x'.repeat(1_100_000)]] } : {}),
];
