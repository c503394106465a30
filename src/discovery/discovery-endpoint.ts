import { randomBytes } from 'node:crypto';
import { SvidgateError, type AuditLog, type Clock, type ErrorCode, type Logger, type Metrics } from '../core/index.ts';
import type { Attestation } from '../attestation/index.ts';
import { AGGREGATED_DISCOVERY_SERVICE } from '../proto/index.ts';
import {
  recordRefusal,
  type CallContext,
  type GrpcMethod,
  type PeerProcess,
  type StreamMethod,
  type UnaryMethod,
} from '../transport/index.ts';
import { streamAggregated, type AggregatedLane } from './aggregated-stream.ts';
import { CallerLimits, type DiscoveryLimits } from './caller-limits.ts';
import { readTypeUrl, type Variant } from './discovery-request.ts';
import type { StreamNode } from './envoy-node.ts';
import type { SessionOptions } from './sotw-session.ts';
import { deltaProtocol, sotwProtocol, type CallerContext, type StreamContext } from './resource-stream.ts';
import { SendTurns } from './send-turns.ts';
import type { ServedType } from './serve-type.ts';
import type { StreamBooks } from './stream-books.ts';

export interface DiscoveryEndpointOptions {
  /** What may be asked for. */
  readonly types: readonly ServedType[];
  /** Of all types together. */
  readonly limits: DiscoveryLimits;
  readonly attestor: { attest(peer: PeerProcess): Promise<Attestation> };
  /** Told what each Envoy holds: a stream of several types has books for each. */
  readonly books: { open(process: PeerProcess): StreamBooks };
  /** Told of refusals; what was issued is recorded where it is issued. Default: nobody is. */
  readonly audit?: AuditLog;
  readonly clock: Clock;
  /** For leases, in milliseconds. Default: the process's own clock, that nobody sets. */
  readonly monotonicNow?: () => number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What says that a caller has not got what it asked for, and not that it went away or we do. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'invalid_request',
  'no_identity',
  'not_authorized',
  'overloaded',
  'too_large',
]);

const PROTOCOLS = { sotw: sotwProtocol, delta: deltaProtocol } as const;

const { streamAggregatedResources, deltaAggregatedResources } = AGGREGATED_DISCOVERY_SERVICE;

const AGGREGATED = [
  { name: 'StreamAggregatedResources', path: streamAggregatedResources.path, variant: 'sotw' },
  { name: 'DeltaAggregatedResources', path: deltaAggregatedResources.path, variant: 'delta' },
] as const;

/** Discovery services for the attested socket: both variants of xDS, each type by itself and all under ADS. */
export function createDiscoveryEndpoint(options: DiscoveryEndpointOptions): readonly GrpcMethod[] {
  const limits = new CallerLimits({ limits: options.limits, metrics: options.metrics });
  const parts: EndpointParts = { options, limits, streams: new Set(), turns: new SendTurns() };
  return [
    ...options.types.flatMap((type) => [
      typeMethod(type, 'sotw', parts),
      typeMethod(type, 'delta', parts),
      fetchMethod(type, parts),
    ]),
    ...AGGREGATED.map((kind) => aggregatedMethod(kind, parts)),
  ];
}

interface EndpointParts {
  readonly options: DiscoveryEndpointOptions;
  readonly limits: CallerLimits;
  /** For the gauge. */
  readonly streams: Set<CallContext>;
  readonly turns: SendTurns;
}

interface PreparedStream {
  readonly context: StreamContext;
  readonly process: PeerProcess;
  readonly nextNonce: () => string;
}

/** Opens a stream, and sees to what holds for all of them. */
function streamMethod(
  { name, path }: { readonly name: string; readonly path: string },
  parts: EndpointParts,
  run: (
    requests: AsyncIterable<Uint8Array>,
    prepared: Omit<PreparedStream, 'context'> & { readonly context: Omit<StreamContext, 'books'> },
    signal: AbortSignal,
  ) => AsyncGenerator<Uint8Array, void, void>,
): StreamMethod {
  const { options, streams, turns } = parts;
  const { metrics } = options;
  return {
    kind: 'stream',
    path,
    async *handle(requests, call) {
      streams.add(call);
      metrics.gauge('svidgate_sds_streams', {}, streams.size);
      try {
        const { process, context } = await prepare(parts, call);
        using stream = context.allowance.openStream();
        const { monotonicNow = () => performance.now() } = options;
        const prepared = { context: { ...context, stream, turns, monotonicNow }, process, nextNonce: createNonces() };
        yield* run(requests, prepared, call.signal);
      } catch (error) {
        throw recordRefusal(error, { method: name, call, refusals: REFUSALS, audit: options.audit });
      } finally {
        streams.delete(call);
        metrics.gauge('svidgate_sds_streams', {}, streams.size);
      }
    },
  };
}

function typeMethod(type: ServedType, variant: Variant, parts: EndpointParts): StreamMethod {
  return streamMethod(
    type.service[variant],
    parts,
    async function* (requests, { context, process, nextNonce }, signal) {
      using books = parts.options.books.open(process);
      const protocol = createProtocol(type, variant, { context, nextNonce, isAggregated: false });
      yield* type.stream(protocol, { requests, signal }, { ...context, books });
    },
  );
}

function aggregatedMethod(
  kind: { readonly name: string; readonly path: string; readonly variant: Variant },
  parts: EndpointParts,
): StreamMethod {
  const { types, books } = parts.options;
  const { variant } = kind;
  return streamMethod(kind, parts, (requests, { context, process, nextNonce }, signal) => {
    const hold = shareOf(context.stream);
    const streamNode: StreamNode = { node: undefined };
    const lanes = types.map((type): AggregatedLane => ({
      typeUrl: type.typeUrl,
      async *open(ofType) {
        using ownBooks = books.open(process);
        const protocol = createProtocol(type, variant, { context, nextNonce, isAggregated: true, streamNode });
        const own = { ...context, books: ownBooks, stream: hold() };
        yield* type.stream(protocol, { requests: ofType, signal }, own);
      },
    }));
    return streamAggregated(requests, lanes, (bytes) => readTypeUrl(bytes, variant));
  });
}

function createProtocol(
  { typeUrl, unknownName }: ServedType,
  variant: Variant,
  own: Pick<SessionOptions, 'nextNonce' | 'isAggregated' | 'streamNode'> & {
    readonly context: Pick<CallerContext, 'allowance'>;
  },
): ReturnType<typeof sotwProtocol> {
  const { context, ...options } = own;
  const { names } = context.allowance;
  const { isAggregated } = options;
  return PROTOCOLS[variant]({ typeUrl, unknownName, ...options }, { typeUrl, isAggregated, names });
}

/** Each type's names count on the one stream. */
function shareOf(stream: StreamContext['stream']): () => StreamContext['stream'] {
  let total = 0;
  return () => {
    let own = 0;
    return {
      hold(names) {
        stream.hold(total + names - own);
        total += names - own;
        own = names;
      },
    };
  };
}

function fetchMethod(type: ServedType, parts: EndpointParts): UnaryMethod {
  const { options } = parts;
  const { name, path } = type.service.fetch;
  return {
    kind: 'unary',
    path,
    async handle(request, call) {
      const done = new AbortController();
      try {
        const { context } = await prepare(parts, call);
        const signal = AbortSignal.any([call.signal, done.signal]);
        return await type.fetch(request, { ...context, deadline: call.deadline, signal });
      } catch (error) {
        throw recordRefusal(error, { method: name, call, refusals: REFUSALS, audit: options.audit });
      } finally {
        done.abort();
      }
    },
  };
}

/** Never the same twice on one stream, and hardly the same on two. */
function createNonces(): () => string {
  const start = randomBytes(4).toString('hex');
  let count = 0;
  return () => `${start}-${(count += 1)}`;
}

async function prepare(
  { options, limits }: EndpointParts,
  call: CallContext,
): Promise<{ readonly process: PeerProcess; readonly context: CallerContext }> {
  if (call.peer.kind !== 'unix') {
    throw new SvidgateError('attestation_failed', 'secrets are served on a Unix socket only');
  }
  const { attestor, clock, metrics } = options;
  const attestation = await attestor.attest(call.peer.process);
  const { selectors, caller: audit } = attestation;
  const logger = options.logger.child({ connection_id: call.peer.connectionId, caller_pid: call.peer.process.pid });
  return {
    process: call.peer.process,
    context: {
      caller: { selectors, audit },
      allowance: limits.allowance(selectors),
      clock,
      logger,
      metrics,
      assertAlive: () => attestation.assertAlive(),
    },
  };
}
