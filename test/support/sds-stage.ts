import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  silentLogger,
  SvidgateError,
  Watchable,
  type LogFields,
  type Logger,
  type Metrics,
} from '../../src/core/index.ts';
import {
  createDiscoveryEndpoint,
  serveType,
  type DiscoveryLimits,
  type FollowResources,
  type StreamBooks,
  type UnknownName,
} from '../../src/discovery/index.ts';
import { createSecretType } from '../../src/endpoints/sds/index.ts';
import type { CallerIdentity } from '../../src/identity/index.ts';
import { SECRET_DISCOVERY_SERVICE } from '../../src/proto/index.ts';
import { parseSelector, parseTrustDomain } from '../../src/spiffe/index.ts';
import type { CallContext, GrpcMethod, StreamMethod } from '../../src/transport/index.ts';
import { viewOf, type Stock } from './sds-view.ts';
import { createTestClock, type TestClock } from './test-clock.ts';

/** What a stream told its books, as `sent a`, `acknowledged a`, … */
export type BookEntry = string;

export interface SdsStage {
  /** What names stand for. Set anew it is a change. */
  readonly stock: Watchable<Stock>;
  /** The identity changes with it. */
  readonly isRegistered: Watchable<boolean>;
  readonly clock: TestClock;
  readonly books: BookEntry[];
  readonly lines: (LogFields & { readonly message: string })[];
  readonly audited: string[];
  /** How often a counter was raised, or a histogram fed; the last value of a gauge. */
  readonly metrics: Map<string, number>;
  /** Names that are followed, of all streams. */
  readonly followed: Set<string>[];
  /** Whether the process of the caller lives. */
  isAlive: boolean;
  stream(path: string): DrivenStream;
  fetch(request: Uint8Array, deadline?: number): Promise<Uint8Array>;
}

/** One stream, driven step by step. */
export interface DrivenStream {
  send(bytes: Uint8Array): void;
  /** Ends the requests. */
  halfClose(): void;
  /** The next answer; the stream is not read before. Undefined at its end; rejects with what ended it. */
  next(): Promise<Uint8Array | undefined>;
  /** Goes away, and waits until the stream has ended. */
  cancel(): Promise<void>;
}

/** What an operator sets. */
export interface SdsSettings {
  readonly unknownName: UnknownName;
  readonly limits: DiscoveryLimits;
}

export const SETTINGS: SdsSettings = {
  unknownName: 'error',
  limits: { streams: 100, namesPerStream: 100, requestsPerSecond: 100, requestBytesPerSecond: 2 ** 24 },
};

/** The endpoint by itself: real streams, what names stand for is the test's. */
export function sdsStage(settings: Partial<SdsSettings> = {}): SdsStage {
  const stock = new Watchable<Stock>(new Map());
  const isRegistered = new Watchable(true);
  const identity = new Watchable(identityOf());
  isRegistered.subscribe(() => identity.set(identityOf()));
  const stage = {
    stock,
    isRegistered,
    clock: createTestClock(),
    books: [] as BookEntry[],
    lines: [] as SdsStage['lines'],
    audited: [] as string[],
    metrics: new Map<string, number>(),
    followed: [] as Set<string>[],
    isAlive: true,
  };
  const followStock: FollowResources<CallerIdentity> = (_caller, onChange) => {
    const names = new Set<string>();
    stage.followed.push(names);
    const unsubscribe = stock.subscribe(onChange);
    return {
      ask(asked) {
        names.clear();
        for (const name of asked) names.add(name);
      },
      view: () => viewOf(stock.value, { isRegistered: isRegistered.value }),
      [Symbol.dispose]() {
        unsubscribe();
        stage.followed.splice(stage.followed.indexOf(names), 1);
      },
    };
  };
  const { unknownName, limits } = { ...SETTINGS, ...settings };
  const type = createSecretType({
    unknownName,
    identities: { watch: (_selectors, signal) => identity.watch(signal) },
    follow: followStock,
  });
  const methods = createDiscoveryEndpoint({
    types: [serveType(type)],
    limits,
    attestor: {
      attest: async () => ({
        selectors: new Set([parseSelector('unix:uid:1')]),
        caller: {},
        failedAttestors: [],
        assertAlive() {
          if (!stage.isAlive) throw new SvidgateError('attestation_failed', 'the caller has ended');
        },
      }),
    },
    books: { open: () => recordBooks(stage.books) },
    audit: { record: (event) => void stage.audited.push(`${event.event} ${event.method}`) },
    clock: stage.clock,
    logger: recordLines(stage.lines),
    metrics: recordMetrics(stage.metrics),
  });
  return Object.assign(stage, {
    stream: (path: string) => drive(methodAt(methods, path, 'stream')),
    fetch(request: Uint8Array, deadline?: number) {
      const path = SECRET_DISCOVERY_SERVICE.fetchSecrets.path;
      return methodAt(methods, path, 'unary').handle(request, contextOf(new AbortController().signal, deadline));
    },
  });
}

/** Lets the streams do what they can. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await nextTurn();
}

export function drive(method: StreamMethod): DrivenStream {
  const waiting: Uint8Array[] = [];
  const stop = new AbortController();
  let isClosed = false;
  let wake: (() => void) | undefined;
  async function* requests(): AsyncGenerator<Uint8Array, void, void> {
    while (!stop.signal.aborted) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else if (isClosed) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  stop.signal.addEventListener('abort', () => wake?.());
  const answers = method.handle(requests(), contextOf(stop.signal))[Symbol.asyncIterator]();
  return {
    send(bytes) {
      waiting.push(bytes);
      wake?.();
    },
    halfClose() {
      isClosed = true;
      wake?.();
    },
    async next() {
      const { value, done } = (await answers.next()) as IteratorResult<Uint8Array, undefined>;
      if (done === true) stop.abort();
      return value;
    },
    async cancel() {
      stop.abort();
      await answers.return?.();
    },
  };
}

export function contextOf(signal: AbortSignal, deadline?: number): CallContext {
  const process = { pid: 7, uid: 1, gid: 1, exited: signal, close: () => undefined };
  return { peer: { kind: 'unix', connectionId: 1, process }, signal, deadline, header: () => [] };
}

export function methodAt<K extends GrpcMethod['kind']>(
  methods: readonly GrpcMethod[],
  path: string,
  kind: K,
): Extract<GrpcMethod, { readonly kind: K }> {
  const found = methods.find((method) => method.path === path);
  if (found?.kind !== kind) throw new Error(`there is no ${path}`);
  return found as Extract<GrpcMethod, { readonly kind: K }>;
}

export function identityOf(): CallerIdentity {
  const trustDomain = parseTrustDomain('example.test');
  return {
    svids: [],
    pending: [],
    bundle: { trustDomain, x509Authorities: [], jwtAuthorities: [], sequence: 1 },
    foreignBundles: [],
  };
}

export function recordBooks(entries: BookEntry[]): StreamBooks {
  const record =
    (what: string) =>
    (resources: readonly { readonly name: string }[]): void =>
      void entries.push(`${what} ${resources.map(({ name }) => name).join()}`);
  return {
    named: ({ id }) => void entries.push(`named ${id}`),
    sent: record('sent'),
    unchanged: record('unchanged'),
    acknowledged: record('acknowledged'),
    refused: (resources, reason) => record(`refused (${reason})`)(resources),
    released: (names) => void entries.push(`released ${names.join()}`),
    [Symbol.dispose]: () => void entries.push('closed'),
  };
}

export function recordLines(lines: SdsStage['lines']): Logger {
  const record = (fields: LogFields, message: string): void => void lines.push({ ...fields, message });
  return { ...silentLogger, debug: record, info: record, warn: record, error: record, child: () => recordLines(lines) };
}

export function recordMetrics(values: Map<string, number>): Metrics {
  const add = (name: string, labels: object, by: number): void => {
    const key = [name, ...Object.values(labels)].join(' ');
    values.set(key, (values.get(key) ?? 0) + by);
  };
  return {
    count: (name, labels, by = 1) => add(name, labels, by),
    gauge: (name, _labels, value) => void values.set(name, value),
    observe: (name, labels) => add(name, labels, 1),
  };
}
