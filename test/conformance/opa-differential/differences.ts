import { isDeepStrictEqual } from 'node:util';
import type { CheckRequestInit, JsonObject, JsonValue } from '../../../src/proto/index.ts';
import type { Effect } from './effect.ts';

/** What one request led to. */
export interface Pair {
  readonly policy: string;
  readonly request: CheckRequestInit;
  readonly opa: Effect;
  readonly ours: Effect;
  /** Why ours is a deny. */
  readonly reason: string;
}

/** A difference that there is to be. */
export interface Difference {
  readonly name: string;
  /** The beginning of its row in docs/compatibility.md. */
  readonly row: string;
  /** The pair without this difference: both sides as OPA's is, or what is left of them. */
  readonly without: (pair: Pair) => Pair;
}

type Kind<K extends Effect['kind']> = Extract<Effect, { kind: K }>;

/** The names of those that make up all that differs; undefined when there is more. They are taken away in their order. */
export function namesOf(pair: Pair): readonly string[] | undefined {
  const names: string[] = [];
  let left = pair;
  for (const { name, without } of DIFFERENCES) {
    if (isDeepStrictEqual(left.opa, left.ours)) break;
    const next = without(left);
    if (!isDeepStrictEqual(next, left)) names.push(name);
    left = next;
  }
  return isDeepStrictEqual(left.opa, left.ours) ? names : undefined;
}

export const DIFFERENCES: readonly Difference[] = [
  {
    name: 'no decision is a deny',
    row: 'Every reply has an explicit status',
    without: (pair) =>
      pair.opa.kind === 'error' && isDeny(pair, ['undefined_decision', 'wrong_type', 'evaluation_error'], 403)
        ? equal(pair)
        : pair,
  },
  {
    name: 'bodies that readers differ in',
    row: '400 for quoted-printable parts',
    without: (pair) =>
      isDeny(pair, ['request_parse_error'], 400) && isAmbiguousMultipart(pair.request) ? equal(pair) : pair,
  },
  {
    name: 'no text of the parser',
    row: 'A deny has a body with its decision id',
    without: (pair) =>
      isDeny(pair, ['request_parse_error'], 400) && pair.opa.kind === 'deny' && pair.opa.status === 400
        ? equal(pair)
        : pair,
  },
  {
    name: 'a body of our own',
    row: 'A deny has a body with its decision id',
    without: (pair) => (pair.ours.kind === 'deny' ? { ...pair, ours: withoutBody(pair.ours) } : pair),
  },
  {
    name: 'success on a deny',
    row: '`http_status` below 300 on a deny',
    without: (pair) =>
      isDeny(pair, ['reply_refused'], 403) && pair.opa.kind === 'deny' && pair.opa.status < 300 ? equal(pair) : pair,
  },
  {
    name: 'guarded headers',
    row: '`host`, `content-length`, `x-envoy-*`',
    without: (pair) => (isDeny(pair, ['reply_refused'], 403) && setsGuarded(pair) ? equal(pair) : pair),
  },
  {
    name: 'a status with a fraction of zero',
    row: '`http_status: 403.0` is 403',
    without: (pair) =>
      pair.opa.kind === 'error' && pair.ours.kind === 'deny' && /"http_status":(?:403\.0|4\.03e2)/.test(answerOf(pair))
        ? equal(pair)
        : pair,
  },
  {
    name: 'parameters are encoded',
    row: '`query_parameters_to_set` is percent-encoded',
    without: (pair) => {
      if (pair.opa.kind !== 'allow' || pair.ours.kind !== 'allow') return pair;
      return { ...pair, opa: { ...pair.opa, parametersToSet: encoded(pair.opa.parametersToSet) } };
    },
  },
  {
    name: 'several values of a header',
    row: 'Headers of an allow: the first value replaces',
    without: (pair) => {
      if (pair.opa.kind !== 'allow' || pair.ours.kind !== 'allow') return pair;
      return { ...pair, ours: { ...pair.ours, headers: withLastValues(pair.ours.headers, pair.opa.headers) } };
    },
  },
  {
    name: 'numbers of metadata as text',
    row: 'Numbers of `metadataContext`',
    without: (pair) => {
      if (pair.opa.kind !== 'allow' || pair.ours.kind !== 'allow') return pair;
      return { ...pair, opa: withNumbers(pair.opa), ours: withNumbers(pair.ours) };
    },
  },
  {
    name: 'bytes that are not UTF-8',
    row: 'Bytes of a path, a query or a body that are not UTF-8',
    without: (pair) => (/%ff/.test(pair.request.attributes?.request?.http?.path ?? '') ? equal(pair) : pair),
  },
  {
    name: 'the order of sets',
    row: 'Arrays that a policy builds from sets',
    without: (pair) => {
      if (!OF_SETS.has(pair.policy)) return pair;
      return { ...pair, opa: withSortedLists(pair.opa), ours: withSortedLists(pair.ours) };
    },
  },
];

/** Policies whose metadata has sets. */
const OF_SETS = new Set(['messages', 'sets']);

function isDeny({ ours, reason }: Pair, reasons: readonly string[], status: number): boolean {
  return ours.kind === 'deny' && reasons.includes(reason) && ours.status === status;
}

function equal(pair: Pair): Pair {
  return { ...pair, ours: pair.opa };
}

/** Without our body and its content type, where it is ours. */
function withoutBody(deny: Kind<'deny'>): Kind<'deny'> {
  if (!/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/.test(deny.body)) return deny;
  return { ...deny, headers: deny.headers.filter(([name]) => name !== 'content-type'), body: '' };
}

function isAmbiguousMultipart(request: CheckRequestInit): boolean {
  const { headers = {}, body = '', rawBody = Buffer.alloc(0) } = request.attributes?.request?.http ?? {};
  if (headers['content-type']?.startsWith('multipart/form-data') !== true) return false;
  return /quoted-printable|name\*=|content-disposition: form$/.test(
    body === '' ? Buffer.from(rawBody).toString() : body,
  );
}

function answerOf({ request }: Pair): string {
  return request.attributes?.request?.http?.headers?.['x-answer'] ?? '';
}

/** Whether a header of OPA's reply, to the request or the client, is one that policies may not set or is none. */
function setsGuarded({ policy, opa, request }: Pair): boolean {
  const guarded = /"(?::path|Host|content-length|x-envoy-retry-on|x a|x-ü|host|)"|\[":path"\]|a\\nb/;
  if (policy === 'answers') return guarded.test(answerOf({ request } as Pair)) && opa.kind !== 'error';
  return policy === 'every_field' && ['v2', 'v3', 'a'].includes(firstSegment(request));
}

function firstSegment(request: CheckRequestInit): string {
  const path = request.attributes?.request?.http?.path ?? '';
  return path.replace(/^\/+/, '').split(/[/?]/)[0] ?? '';
}

function encoded(parameters: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const text = (given: string): string => given.replace(/[^!$%&'()*+,./0-9:;=?@A-Z_a-z~-]/gu, encodeURIComponent);
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [text(name), text(value)]));
}

/** Where OPA's value is the last of ours. */
function withLastValues(
  ours: Readonly<Record<string, string>>,
  theirs: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(ours).map(([name, value]) => [name, value.endsWith(`,${theirs[name]}`) ? theirs[name]! : value]),
  );
}

/** The header `x-metadata` as JSON writes it. */
function withNumbers(allow: Kind<'allow'>): Kind<'allow'> {
  const { 'x-metadata': text } = allow.headers;
  if (text === undefined) return allow;
  return { ...allow, headers: { ...allow.headers, 'x-metadata': JSON.stringify(JSON.parse(text)) } };
}

function withSortedLists(effect: Effect): Effect {
  return effect.kind === 'error' ? effect : { ...effect, metadata: sortedLists(effect.metadata) as JsonObject };
}

function sortedLists(value: JsonValue): JsonValue {
  if (Array.isArray(value)) {
    const texts = value.map((each: JsonValue) => JSON.stringify(sortedLists(each))).sort();
    return texts.map((text) => JSON.parse(text) as JsonValue);
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, sortedLists(each)]));
}
