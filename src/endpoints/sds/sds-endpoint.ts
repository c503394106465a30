import {
  SvidgateError,
  type AuditCaller,
  type AuditLog,
  type ErrorCode,
  type Logger,
  type Metrics,
} from '../../core/index.ts';
import type { Attestation } from '../../attestation/index.ts';
import type { CallerIdentity } from '../../identity/index.ts';
import { SECRET_DISCOVERY_SERVICE } from '../../proto/index.ts';
import type { Selector } from '../../spiffe/index.ts';
import type { CallContext, GrpcMethod, PeerProcess } from '../../transport/index.ts';
import { fetchSecrets, streamSecrets, type SdsSettings, type SecretStreamContext } from './secret-stream.ts';
import type { StreamTable } from './stream-table.ts';

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
  /** Told what each Envoy holds. */
  readonly streams: StreamTable;
  /** Told of refusals; what was issued is recorded where it is issued. Default: nobody is. */
  readonly audit?: AuditLog;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What says that a caller has not got what it asked for, and not that it went away or we do. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'invalid_request',
  'no_identity',
  'not_authorized',
  'too_large',
]);

/** The Secret Discovery Service (state of the world) for the attested socket. */
export function createSdsEndpoint(options: SdsEndpointOptions): readonly GrpcMethod[] {
  let streams = 0;
  const countStream = (by: number): void => {
    streams += by;
    options.metrics.gauge('svidgate_sds_streams', {}, streams);
  };
  return [
    {
      kind: 'stream',
      path: SECRET_DISCOVERY_SERVICE.streamSecrets.path,
      async *handle(requests, call) {
        countStream(1);
        try {
          const caller = await prepare(options, call);
          using record = options.streams.open(caller.process);
          yield* streamSecrets(requests, caller.identities(call.signal), { ...caller.context, record });
        } catch (error) {
          throw recordRefusal(error, 'StreamSecrets', { call, options });
        } finally {
          countStream(-1);
        }
      },
    },
    {
      kind: 'unary',
      path: SECRET_DISCOVERY_SERVICE.fetchSecrets.path,
      async handle(request, call) {
        const done = new AbortController();
        try {
          const caller = await prepare(options, call);
          const signal = AbortSignal.any([call.signal, done.signal]);
          return await fetchSecrets(request, caller.identities(signal), caller.context);
        } catch (error) {
          throw recordRefusal(error, 'FetchSecrets', { call, options });
        } finally {
          done.abort();
        }
      },
    },
  ];
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
  readonly context: Omit<SecretStreamContext, 'record'>;
  readonly identities: (signal: AbortSignal) => AsyncGenerator<CallerIdentity, void, void>;
}

async function prepare(options: SdsEndpointOptions, call: CallContext): Promise<PreparedCaller> {
  if (call.peer.kind !== 'unix')
    throw new SvidgateError('attestation_failed', 'secrets are served on a Unix socket only');
  const { attestor, identities, settings, metrics } = options;
  const attestation = await attestor.attest(call.peer.process);
  const logger = options.logger.child({ connection_id: call.peer.connectionId, caller_pid: call.peer.process.pid });
  return {
    process: call.peer.process,
    context: { settings, logger, metrics, assertAlive: () => attestation.assertAlive() },
    identities: (signal) => identities.watch(attestation.selectors, signal, attestation.caller),
  };
}
