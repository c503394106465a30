/** Policies that are put together by chance: rules, helpers, negation, tables and functions over what requests have. */
import { createRandom, type Random } from '../../hunt/random.ts';
import { BILLING, ORDERS, PLAIN_DRAW, type Draw } from './draw.ts';
import type { Aim, WrittenPolicy } from './policy.ts';

/** One condition, and how a request is made to meet it. */
interface Piece {
  readonly rego: string;
  readonly toward: (draw: Draw) => Aim;
}

const SEGMENTS = ['orders', 'bills', 'admin', 'a b', 'v1', 'public', 'x.json'] as const;
const METHODS = ['GET', 'POST', 'PUT', 'DELETE'] as const;
const PEOPLE = ['alice', 'bob', 'mallory', 'gateway'] as const;
const VALUES = ['admin', 'y', '', 'a,b', 'b!', 'Ab'] as const;
const NAMES = ['x-role', 'x-need', 'x-a', 'x-tenant'] as const;

const text = (value: string): string => JSON.stringify(value);
const uri = (name: string): string => `spiffe://example.test/${name}`;
const withSegments = (...segments: readonly string[]): Aim => ({
  path: `/${segments.map(encodeURIComponent).join('/')}`,
});
const withHeader =
  (name: string, value: string) =>
  ({ headers }: Draw): Aim => ({ headers: [...headers.filter(([own]) => own !== name), [name, value]] });
const two = <T>(random: Random, of: readonly T[]): readonly [T, T] => [random.pick(of), random.pick(of)];

const PIECES: readonly ((random: Random) => Piece)[] = [
  (random) => {
    const [one, other] = two(random, METHODS);
    return { rego: `http.method in {${text(one)}, ${text(other)}}`, toward: () => ({ method: one }) };
  },
  (random) => {
    const method = random.pick(METHODS);
    return { rego: `http.method == ${text(method)}`, toward: () => ({ method }) };
  },
  (random) => {
    const [one, other] = two(random, SEGMENTS);
    return { rego: `input.parsed_path[0] in {${text(one)}, ${text(other)}}`, toward: () => withSegments(one, 'x') };
  },
  (random) => {
    const [one, other] = two(random, SEGMENTS);
    const place = random.below(2);
    return {
      rego: `input.parsed_path[${place}] == ${text(one)}`,
      toward: () => (place === 0 ? withSegments(one) : withSegments(other, one)),
    };
  },
  (random) => {
    const [one, other] = two(random, SEGMENTS);
    return {
      rego: `input.parsed_path == ${text(one) && JSON.stringify([one, other])}`,
      toward: () => withSegments(one, other),
    };
  },
  (random) => {
    const start = `/${random.pick(['orders', 'v1', 'public/'])}`;
    return { rego: `startswith(http.path, ${text(start)})`, toward: () => ({ path: `${start}7` }) };
  },
  (random) => {
    const end = random.pick(['.json', '/', '7']);
    return { rego: `endswith(http.path, ${text(end)})`, toward: ({ path }) => ({ path: path + end }) };
  },
  (random) => {
    const part = random.pick(['/v1', 'or', '%20', '?']);
    return { rego: `contains(http.path, ${text(part)})`, toward: ({ path }) => ({ path: path + part }) };
  },
  (random) => {
    const pattern = random.pick(['^/[a-z]+/[0-9]+$', '/v[0-9]', '^/orders(/.*)?$', '[.]json$']);
    return {
      rego: `regex.match(${text(pattern)}, http.path)`,
      toward: () => ({ path: random.pick(['/orders/7', '/v1', '/orders', '/x.json']) }),
    };
  },
  (random) => {
    const name = random.pick(NAMES);
    const value = random.pick(VALUES);
    return { rego: `headers[${text(name)}] == ${text(value)}`, toward: withHeader(name, value) };
  },
  (random) => {
    const name = random.pick(NAMES);
    const [one, other] = two(random, VALUES);
    return { rego: `headers[${text(name)}] in {${text(one)}, ${text(other)}}`, toward: withHeader(name, one) };
  },
  (random) => {
    const name = random.pick(NAMES);
    return { rego: `headers[${text(name)}]`, toward: withHeader(name, random.pick(VALUES)) };
  },
  (random) => {
    const name = random.pick(NAMES);
    const value = random.pick(VALUES);
    return { rego: `headers[${text(name)}] != ${text(value)}`, toward: withHeader(name, `${value}x`) };
  },
  (random) => {
    const name = random.pick(NAMES);
    const kind = random.pick(['startswith', 'endswith', 'contains']);
    return { rego: `${kind}(headers[${text(name)}], "a")`, toward: withHeader(name, 'a') };
  },
  (random) => {
    const [one, other] = two(random, PEOPLE);
    return { rego: `peer in {${text(uri(one))}, ${text(uri(other))}}`, toward: () => ({ certificate: one }) };
  },
  (random) => {
    const one = random.pick(PEOPLE);
    return { rego: `peer == ${text(uri(one))}`, toward: () => ({ certificate: one }) };
  },
  (random) => {
    const start = random.pick(['spiffe://example.test/', 'spiffe://example.test/a', 'spiffe://']);
    return { rego: `startswith(peer, ${text(start)})`, toward: () => ({ certificate: 'alice' }) };
  },
  (random) => {
    const id = random.pick([ORDERS, BILLING]);
    return { rego: `${text(id)} in input.svidgate.caller.spiffe_ids`, toward: () => ({ callerIds: [id] }) };
  },
  (random) => {
    const host = random.pick(['orders.test', 'orders.test:8080']);
    return { rego: `http.host == ${text(host)}`, toward: () => ({ authority: host }) };
  },
  (random) => {
    const port = random.pick([80, 8080]);
    return {
      rego: `input.attributes.destination.address.socketAddress.portValue == ${port}`,
      toward: () => ({ port }),
    };
  },
  () => ({
    rego: 'input.parsed_query.id[0] == "7"',
    toward: ({ path }) => ({ path: `${path.split('?')[0] ?? ''}?id=7` }),
  }),
  () => ({
    rego: 'count(input.parsed_path) == 2',
    toward: ({ path }) => ({ path: `/${path.split('/')[1] ?? 'x'}/y` }),
  }),
  (random) => {
    const [one, other] = two(random, SEGMENTS);
    const method = random.pick(METHODS);
    const rows = JSON.stringify([
      [method, one],
      ['GET', other],
    ]);
    return { rego: `[http.method, input.parsed_path[0]] in ${rows}`, toward: () => ({ method, ...withSegments(one) }) };
  },
  (random) => {
    const segment = random.pick(SEGMENTS);
    return {
      rego: `every segment in input.parsed_path { segment != ${text(segment)} }`,
      toward: () => ({ path: '/plain' }),
    };
  },
  (random) => {
    const segment = random.pick(SEGMENTS);
    return { rego: `${text(segment)} in input.parsed_path`, toward: () => withSegments('x', segment) };
  },
];

const DEPTH = 3;

/** The policy of this number, always the same. */
export function generatedPolicy(seed: number): WrittenPolicy {
  const random = createRandom(seed, 7);
  const helpers: string[] = [];
  const aims: Aim[] = [];
  const rules = Array.from({ length: 2 + random.below(3) }, () => {
    const lines: string[] = [];
    let drawn: Draw = { ...PLAIN_DRAW, path: '/plain' };
    for (let count = 1 + random.below(DEPTH); count > 0; count -= 1) {
      const piece = random.pick(PIECES)(random);
      const isNegated = random.oneIn(4);
      lines.push(asLine(piece.rego, isNegated, { random, helpers }));
      if (!isNegated) drawn = { ...drawn, ...piece.toward(drawn) };
    }
    aims.push(drawn);
    return `allow if {\n\t${lines.join('\n\t')}\n}`;
  });
  return { name: `made_${seed}`, rules: [...helpers, ...rules].join('\n\n'), aims };
}

/** The condition itself, or by a helper of its own. */
function asLine(
  rego: string,
  isNegated: boolean,
  { random, helpers }: { readonly random: Random; readonly helpers: string[] },
): string {
  const not = isNegated ? 'not ' : '';
  // Of more than an expression, `not` takes a helper.
  const kind = rego.startsWith('every') && isNegated ? 1 + random.below(3) : random.below(6);
  const name = `helper_${helpers.length}`;
  switch (kind) {
    case 1: {
      const other = random.pick(PIECES)(random).rego;
      helpers.push(`${name} if {\n\t${rego}\n}\n\n${name} if {\n\t${other}\n\thttp.method == "GET"\n}`);
      return `${not}${name}`;
    }
    case 2:
      helpers.push(`${name}(x) := "yes" if {\n\tx == true\n\t${rego}\n}`);
      return `${not}${name}(true) == "yes"`;
    case 3:
      helpers.push(`${name} := 1 if {\n\t${rego}\n} else := 2 if {\n\thttp.method != "PUT"\n}`);
      return `${not}${name} == 1`;
    default:
      return `${not}${rego}`;
  }
}
