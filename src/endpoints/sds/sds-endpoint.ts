import { randomBytes } from 'node:crypto';
import {
  SvidgateError,
  type AuditCaller,
  type AuditLog,
  type Clock,
  type ErrorCode,
  type Logger,
  type Metrics,
} from '../../core/index.ts';
import type { Attestation } from '../../attestation/index.ts';
import type { CallerIdentity } from '../../identity/index.ts';
import { AGGREGATED_DISCOVERY_SERVICE, SECRET_DISCOVERY_SERVICE } from '../../proto/index.ts';
import type { Selector } from '../../spiffe/index.ts';
import type { CallContext, GrpcMethod, PeerProcess, StreamMethod } from '../../transport/index.ts';
import { CallerLimits, type SdsLimits } from './caller-limits.ts';
import type { UnknownName } from './discovery-session.ts';
import { fetchSecrets } from './fetch-secrets.ts';
import { deltaProtocol, sotwProtocol, streamSecrets, type CallerContext } from './secret-stream.ts';
import type { FollowSecrets } from './secret-view.ts';
import type { StreamBooks } from './stream-books.ts';

export interface SdsSettings {
  /** What a name that the caller has no right to does: an error, or nothing until it has. */
  readonly unknownName: UnknownName;
  readonly limits: SdsLimits;
}

export interface SdsEndpointOptions {
  readonly settings: SdsSettings;
  readonly attestor: { attest(peer: PeerProcess): Promise<Attestation> };
  readonly identities: {
    watch(
      selectors: ReadonlySet<Selector>,
      signal: AbortSignal,
      caller?: AuditCaller,
    ): AsyncGenerator<CallerIdentity, void, void>;
  };
  /** What names stand for. */
  readonly follow: FollowSecrets;
  /** Told what each Envoy holds. */
  readonly books: { open(process: PeerProcess): StreamBooks };
  /** Told of refusals; what was issued is recorded where it is issued. Default: nobody is. */
  readonly audit?: AuditLog;
  readonly clock: Clock;
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

/** A kind of stream: which variant of xDS, and whether other types of resources could share it. */
interface StreamKind {
  readonly name: string;
  readonly path: string;
  readonly protocol: typeof sotwProtocol;
  readonly isAggregated: boolean;
}

const { streamSecrets: sotw, deltaSecrets: delta, fetchSecrets: fetch } = SECRET_DISCOVERY_SERVICE;
const { streamAggregatedResources: sotwAds, deltaAggregatedResources: deltaAds } = AGGREGATED_DISCOVERY_SERVICE;

const STREAMS: readonly StreamKind[] = [
  { name: 'StreamSecrets', path: sotw.path, protocol: sotwProtocol, isAggregated: false },
  { name: 'DeltaSecrets', path: delta.path, protocol: deltaProtocol, isAggregated: false },
  { name: 'StreamAggregatedResources', path: sotwAds.path, protocol: sotwProtocol, isAggregated: true },
  { name: 'DeltaAggregatedResources', path: deltaAds.path, protocol: deltaProtocol, isAggregated: true },
];

/** The Secret Discovery Service for the attested socket: both variants of xDS, by themselves and under ADS. */
export function createSdsEndpoint(options: SdsEndpointOptions): readonly GrpcMethod[] {
  const limits = new CallerLimits({ limits: options.settings.limits, metrics: options.metrics });
  const parts: EndpointParts = { options, limits, streams: new Set() };
  return [
    ...STREAMS.map((kind) => streamMethod(kind, parts)),
    {
      kind: 'unary',
      path: fetch.path,
      async handle(request, call) {
        const done = new AbortController();
        try {
          const { context, identities } = await prepare(parts, call);
          const signal = AbortSignal.any([call.signal, done.signal]);
          const { clock } = options;
          return await fetchSecrets(request, identities(signal), {
            ...context,
            clock,
            deadline: call.deadline,
            signal,
          });
        } catch (error) {
          throw recordRefusal(error, 'FetchSecrets', { call, options });
        } finally {
          done.abort();
        }
      },
    },
  ];
}

interface EndpointParts {
  readonly options: SdsEndpointOptions;
  readonly limits: CallerLimits;
  /** For the gauge. */
  readonly streams: Set<CallContext>;
}

function streamMethod({ name, path, protocol, isAggregated }: StreamKind, parts: EndpointParts): StreamMethod {
  const { options, streams } = parts;
  const { metrics, settings, books } = options;
  return {
    kind: 'stream',
    path,
    async *handle(requests, call) {
      streams.add(call);
      metrics.gauge('svidgate_sds_streams', {}, streams.size);
      try {
        const { process, context, identities } = await prepare(parts, call);
        using open = new DisposableStack();
        const stream = open.use(context.allowance.openStream());
        const record = open.use(books.open(process));
        const { unknownName } = settings;
        const { names } = context.allowance;
        yield* streamSecrets(
          protocol({ unknownName, isAggregated, nextNonce: createNonces() }, { isAggregated, names }),
          { requests, identities: identities(call.signal) },
          { ...context, books: record, stream },
        );
      } catch (error) {
        throw recordRefusal(error, name, { call, options });
      } finally {
        streams.delete(call);
        metrics.gauge('svidgate_sds_streams', {}, streams.size);
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

/** Gives the error on. Failed attestations have a line of their own. */
function recordRefusal(
  caught: unknown,
  method: string,
  { call, options }: { readonly call: CallContext; readonly options: SdsEndpointOptions },
): SvidgateError {
  const error = SvidgateError.from(caught);
  if (!REFUSALS.has(error.code) || call.peer.kind !== 'unix') return error;
  const { pid, uid, gid } = call.peer.process;
  const failure_reason = `${error.code}: ${error.message}`;
  try {
    options.audit?.record({
      event: 'call_refused',
      method,
      caller: { pid, uid, gid },
      result: 'failure',
      failure_reason,
    });
  } catch {
    // Refused all the same; the audit log has reported that it failed.
  }
  return error;
}

interface PreparedCaller {
  readonly process: PeerProcess;
  readonly context: CallerContext;
  readonly identities: (signal: AbortSignal) => AsyncGenerator<CallerIdentity, void, void>;
}

async function prepare({ options, limits }: EndpointParts, call: CallContext): Promise<PreparedCaller> {
  if (call.peer.kind !== 'unix')
    throw new SvidgateError('attestation_failed', 'secrets are served on a Unix socket only');
  const { attestor, identities, follow, metrics } = options;
  const attestation = await attestor.attest(call.peer.process);
  const { selectors, caller: audit } = attestation;
  const logger = options.logger.child({ connection_id: call.peer.connectionId, caller_pid: call.peer.process.pid });
  return {
    process: call.peer.process,
    context: {
      caller: { selectors, audit },
      follow,
      allowance: limits.allowance(selectors),
      logger,
      metrics,
      assertAlive: () => attestation.assertAlive(),
    },
    identities: (signal) => identities.watch(selectors, signal, audit),
  };
}
