import { join } from 'node:path';
import { noMetrics, silentLogger } from '../../src/core/index.ts';
import {
  AGGREGATED_DISCOVERY_SERVICE,
  decodeMessage,
  DeltaDiscoveryRequest,
  DiscoveryRequest,
  EXTENSION_CONFIG_DISCOVERY_SERVICE,
} from '../../src/proto/index.ts';
import { startGrpcServer, type StreamMethod } from '../../src/transport/index.ts';
import { waitUntil } from './wait-until.ts';

/** A stream of one Envoy, driven by the test byte by byte. */
export interface RawRulesStream {
  readonly variant: 'sotw' | 'delta';
  /** What it asked for first. */
  readonly names: readonly string[];
  readonly requests: readonly RawRulesRequest[];
  send(bytes: Uint8Array): void;
  /** The reply to an answer. */
  reply(nonce: string): Promise<RawRulesRequest>;
  /** Ends it, as a server that stops does. */
  end(): void;
}

export interface RawRulesRequest {
  readonly nonce: string;
  readonly refusal: string | undefined;
}

export interface RulesStandIn extends AsyncDisposable {
  readonly socket: string;
  /** The newest stream that asks for the name. */
  streamFor(name: string): Promise<RawRulesStream>;
}

/** A discovery service that says what a test has it say. */
export async function startRulesStandIn(folder: string): Promise<RulesStandIn> {
  const path = join(folder, 'rules.sock');
  const streams: RawStream[] = [];
  const method = (methodPath: string, variant: 'sotw' | 'delta'): StreamMethod => ({
    kind: 'stream',
    path: methodPath,
    async *handle(requests, { signal }) {
      const stream = new RawStream(variant);
      streams.unshift(stream);
      signal.addEventListener('abort', () => stream.end());
      void stream.read(requests);
      yield* stream.answers();
    },
  });
  const { streamExtensionConfigs, deltaExtensionConfigs } = EXTENSION_CONFIG_DISCOVERY_SERVICE;
  const { streamAggregatedResources, deltaAggregatedResources } = AGGREGATED_DISCOVERY_SERVICE;
  const server = await startGrpcServer({
    name: 'rules',
    address: { kind: 'unix', path, mode: 0o600 },
    methods: [
      method(streamExtensionConfigs.path, 'sotw'),
      method(streamAggregatedResources.path, 'sotw'),
      method(deltaExtensionConfigs.path, 'delta'),
      method(deltaAggregatedResources.path, 'delta'),
    ],
    identify: () => ({ pid: 7, uid: 1, gid: 1, exited: new AbortController().signal, close: () => undefined }),
    maxMessageBytes: 1024 * 1024,
    logger: silentLogger,
    metrics: noMetrics,
  });
  return {
    socket: `unix:${path}`,
    streamFor: (name: string) =>
      waitUntil(`a stream for ${name}`, 10_000, () => streams.find((stream) => stream.isFor(name))),
    [Symbol.asyncDispose]: () => server.stop(0),
  };
}

class RawStream implements RawRulesStream {
  readonly variant: 'sotw' | 'delta';
  readonly requests: RawRulesRequest[] = [];
  readonly #queue: Uint8Array[] = [];
  #names: readonly string[] = [];
  #isEnded = false;
  #wake: (() => void) | undefined;

  constructor(variant: 'sotw' | 'delta') {
    this.variant = variant;
  }

  get names(): readonly string[] {
    return this.#names;
  }

  isFor(name: string): boolean {
    return !this.#isEnded && this.#names.includes(name);
  }

  async read(requests: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const bytes of requests) this.#take(bytes);
    } catch {
      // The Envoy went away.
    }
    this.end();
  }

  send(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#wake?.();
  }

  async reply(nonce: string): Promise<RawRulesRequest> {
    return await waitUntil(`the reply to ${nonce}`, 10_000, () => this.requests.find((each) => each.nonce === nonce));
  }

  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  async *answers(): AsyncGenerator<Uint8Array, void, void> {
    while (!this.#isEnded) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #take(bytes: Uint8Array): void {
    const limit = 1024 * 1024;
    if (this.variant === 'sotw') {
      const request = decodeMessage(DiscoveryRequest, bytes, limit);
      if (request.resourceNames.length > 0) this.#names = request.resourceNames;
      this.requests.push({ nonce: request.responseNonce, refusal: request.errorDetail?.message });
    } else {
      const request = decodeMessage(DeltaDiscoveryRequest, bytes, limit);
      this.#names = [...this.#names, ...request.resourceNamesSubscribe];
      this.requests.push({ nonce: request.responseNonce, refusal: request.errorDetail?.message });
    }
  }
}
