/**
 * Compares the model of Envoy's matchers with Envoy: each request goes to it over a connection of some kind, and what came of every
 * set has to be what the model says. The gate that Envoy asks tells what the request was by then.
 */
import { headerOf } from '../../../src/offload/model/envoy-request.ts';
import {
  ENVOY_READINGS,
  matchOffload,
  type EnvoyRequest,
  type EnvoyReading,
  type OffloadSet,
} from '../../../src/offload/index.ts';
import type { CheckRequest } from '../../../src/proto/index.ts';
import { createRandom } from '../../hunt/random.ts';
import type { EnvoyVersion } from '../../support/envoy-versions.ts';
import { cleanText } from '../hunt/people-seen.ts';
import { makeCertificates, type TestCertificates } from './certificates.ts';
import { asEnvoyHas, drawRequest, type Channel, type WireRequest } from './requests.ts';
import { drawSet } from './rule-sets.ts';
import { resultHeader, startRulesEnvoy, type ListenerName, type RulesEnvoy } from './rules-envoy.ts';
import { http1Client, http2Client, type Target, type WireAnswer, type WireClient } from './wire-clients.ts';

export interface CompareOptions {
  readonly version: EnvoyVersion;
  readonly seed: number;
  readonly requests: number;
  /** Sets in the one Envoy: each request is compared with all. Default 20. */
  readonly sets?: number;
}

export interface CompareFigures {
  /** Those that Envoy read and passed to its filters. */
  readonly compared: number;
  /** Those that Envoy refused before. */
  readonly refused: number;
  /** Over all sets. */
  readonly results: number;
  readonly allowed: number;
  /** In words, each with its request. */
  readonly differences: readonly string[];
}

interface Line {
  readonly name: string;
  readonly listener: ListenerName;
  readonly channel: Channel;
  readonly client: WireClient;
}

const MAX_DIFFERENCES = 30;

export async function compareWithEnvoy(options: CompareOptions): Promise<CompareFigures> {
  const { version, seed, requests, sets: count = 20 } = options;
  const sets = Array.from({ length: count }, (_, index) => {
    const { outer: _outer, ...set } = drawSet(seed + index, `s${index}`);
    return set;
  });
  const outer = findOuter(seed);
  const certificates = await makeCertificates();
  await using envoy = await startRulesEnvoy(version, { sets, outer, certificates });
  await using lines = await openLines(envoy, certificates);
  const reading = ENVOY_READINGS[version.name === 'Envoy 1.36' ? '1.36' : '1.40'];
  const tally = { compared: 0, refused: 0, results: 0, allowed: 0, differences: [] as string[] };
  let next = 0;
  const work = async (line: Line): Promise<void> => {
    while (next < requests && tally.differences.length < MAX_DIFFERENCES) {
      const id = next++;
      const random = createRandom(seed, id);
      const request = { ...drawRequest(random) };
      const sent = { ...request, headers: [...request.headers, ['x-id', String(id)] as const] };
      const answer = await line.client.send(sent);
      const check = envoy.recorder.take(String(id));
      judge({ reading, line, request: sent, answer, check }, line.listener === 'outer' ? [outer] : sets, tally);
    }
  };
  await Promise.all(lines.all.map(work));
  return tally;
}

function findOuter(seed: number): OffloadSet {
  for (let more = 1000; ; more += 1) {
    const set = drawSet(seed + more, 'outer');
    if (set.outer !== undefined) return set;
  }
}

/** Connections of each kind. */
async function openLines(
  envoy: RulesEnvoy,
  { clients }: TestCertificates,
): Promise<AsyncDisposable & { readonly all: readonly Line[] }> {
  await using open = new AsyncDisposableStack();
  const all: Line[] = [];
  const add = async (listener: ListenerName, who: string | undefined, serverName = ''): Promise<void> => {
    const { address, ports } = envoy;
    const port = ports[listener];
    const isTls = listener === 'verified' || listener === 'unverified';
    const found = who === undefined ? undefined : clients[who];
    const target: Target = {
      address,
      port,
      ...(isTls ? { tls: { serverName, ...(found === undefined ? {} : { client: found }) } } : {}),
    };
    const channel: Omit<Channel, 'version'> = {
      scheme: isTls ? 'https' : 'http',
      ...(found === undefined ? {} : { peer: found.peer }),
      destination: { address, port },
      serverName,
    };
    for (const [version, client] of [
      ['HTTP/1.1', http1Client(target)],
      ['HTTP/2', http2Client(target)],
    ] as const) {
      open.use(client);
      all.push({
        name: `${version}, ${listener}, ${who ?? 'nobody'}`,
        listener,
        channel: { ...channel, version },
        client,
      });
    }
  };
  await add('plain', undefined);
  await add('normal', undefined);
  await add('outer', undefined);
  await add('verified', undefined, 'orders.test');
  for (const [name, { peer }] of Object.entries(clients)) {
    await add(peer.isVerified ? 'verified' : 'unverified', name, name === 'alice' ? 'orders.test' : '');
  }
  await add('unverified', 'alice');
  const closing = open.move();
  return { all, [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

interface Seen {
  readonly reading: EnvoyReading;
  readonly line: Line;
  readonly request: WireRequest;
  readonly answer: WireAnswer;
  readonly check: CheckRequest | 'unreadable' | undefined;
}

type Tally = { -readonly [key in keyof CompareFigures]: CompareFigures[key] } & { readonly differences: string[] };

function judge({ reading, line, request, answer, check }: Seen, sets: readonly OffloadSet[], tally: Tally): void {
  const told = (what: string): void => {
    tally.differences.push(`${line.name}: ${JSON.stringify(request)}: ${what}`);
  };
  // Envoy's codec, or the client's, does not take it.
  if (answer === undefined || (answer.status !== 200 && check === undefined && line.listener !== 'outer')) {
    tally.refused += 1;
    return;
  }
  if (check === 'unreadable') return told('the check request is no message');
  const assumed = assumedRequest(line, request, check);
  if (line.listener === 'outer') {
    judgeOuter({ reading, assumed, answer, isAsked: check !== undefined, set: sets[0] }, tally, told);
    return;
  }
  const difference = check === undefined ? 'the gate was not asked' : differenceOf(assumed, check);
  if (difference !== undefined) told(difference);
  tally.compared += 1;
  for (const [index, set] of sets.entries()) {
    const [result = '', rule = ''] = answer.headers.get(resultHeader(index))?.split(' ') ?? [];
    const expected = matchOffload(set, assumed, reading).allow;
    tally.results += 1;
    if (result === 'allowed') tally.allowed += 1;
    const said = result === 'allowed' ? rule : undefined;
    if (said !== expected) {
      told(
        `Envoy says ${said ?? result} (${answer.status}), the model ${expected ?? 'denied'}: ${JSON.stringify(set.allow.filter(({ id }) => id === expected || id === said))}`,
      );
    }
  }
}

/** Where paths are normalised, the path is what the gate was told. */
function assumedRequest(
  { listener, channel }: Line,
  request: WireRequest,
  check: CheckRequest | undefined,
): EnvoyRequest {
  const assumed = asEnvoyHas(request, channel);
  const path = check?.attributes?.request?.http?.path;
  if (listener !== 'normal' || path === undefined) return assumed;
  const bytes = Buffer.from(path).toString('latin1');
  return { ...assumed, headers: assumed.headers.map(([name, value]) => [name, name === ':path' ? bytes : value]) };
}

function judgeOuter(
  about: {
    readonly reading: EnvoyReading;
    readonly assumed: EnvoyRequest;
    readonly answer: NonNullable<WireAnswer>;
    readonly isAsked: boolean;
    readonly set: OffloadSet | undefined;
  },
  tally: Tally,
  told: (what: string) => void,
): void {
  const { reading, assumed, answer, isAsked, set } = about;
  if (answer.status !== 200 && answer.status !== 403) {
    tally.refused += 1;
    return;
  }
  tally.compared += 1;
  if (set === undefined) return;
  const expected = matchOffload(set, assumed, reading).refused;
  if (expected === isAsked) told(`Envoy ${isAsked ? 'lets it through' : 'refuses it'}: ${JSON.stringify(set.outer)}`);
}

/** What the hunt assumes of the check request that Envoy makes of a request. */
function differenceOf(assumed: EnvoyRequest, { attributes }: CheckRequest): string | undefined {
  const http = attributes?.request?.http;
  const asked: readonly (readonly [what: string, given: string | undefined, expected: string | undefined])[] = [
    ['path', http?.path, headerOf(assumed, ':path')],
    ['method', http?.method, headerOf(assumed, ':method')],
    ['host', http?.host, headerOf(assumed, ':authority')],
    ['principal', attributes?.source?.principal, principalOf(assumed)],
    ...[...new Set(assumed.headers.map(([name]) => name))].map(
      (name) => [`header ${name}`, http?.headers[name], headerOf(assumed, name)] as const,
    ),
  ];
  const wrong = asked.find(([, given, expected]) => (given ?? '') !== cleanText(expected ?? ''));
  return wrong === undefined
    ? undefined
    : `the gate was told ${wrong[0]} ${JSON.stringify(wrong[1])}, not ${JSON.stringify(wrong[2])}`;
}

function principalOf({ peer }: EnvoyRequest): string | undefined {
  return peer === undefined ? '' : (peer.uris[0] ?? peer.dnsNames[0] ?? peer.subject);
}
