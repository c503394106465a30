import {
  noAudit,
  SvidgateError,
  type AuditCaller,
  type AuditLog,
  type Clock,
  type ErrorCode,
  type Logger,
  type Metrics,
} from '../../core/index.ts';
import type { CallerBundles, CallerIdentity, HeldJwtSvid, JwtSvidsRequest } from '../../identity/index.ts';
import { WORKLOAD_API_SERVICE } from '../../proto/index.ts';
import type { Selector, SpiffeId } from '../../spiffe/index.ts';
import type { CallContext, GrpcMethod, ServerStreamMethod, UnaryMethod } from '../../transport/index.ts';
import { noIdentity, streamAnswers } from './answer-stream.ts';
import { CallLimit } from './call-limit.ts';
import { attestCaller, auditCaller, checkSecurityHeader, processOf, type WorkloadAttestor } from './caller.ts';
import { encodeJwtSvids, readJwtSvidRequest, readValidateRequest, validateJwtSvid } from './jwt-calls.ts';
import { encodeJwtBundles, encodeX509Bundles, encodeX509Svids } from './responses.ts';

/** What the Workload API needs of the identity source. */
export interface WorkloadIdentities {
  watch(
    selectors: ReadonlySet<Selector>,
    signal: AbortSignal,
    caller?: AuditCaller,
  ): AsyncGenerator<CallerIdentity, void, void>;
  fetchJwtSvids(selectors: ReadonlySet<Selector>, request: JwtSvidsRequest): Promise<readonly HeldJwtSvid[]>;
  current(selectors: ReadonlySet<Selector>): CallerBundles | undefined;
}

export interface WorkloadApiOptions {
  readonly attestor: WorkloadAttestor;
  readonly identities: WorkloadIdentities;
  /** Whether tokens of this ID are not to be believed any more. Default: none is. */
  readonly isRevoked?: (id: SpiffeId) => boolean;
  /** Calls that one process may have open, streams included; one more is `overloaded`. Default 100. */
  readonly maxCallsPerProcess?: number;
  /** Told of refusals; what was issued is recorded where it is issued. */
  readonly audit?: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const DEFAULT_MAX_CALLS = 100;

/** SpiffeWorkloadAPI: the calls of SPIFFE Workload API §5 and §6. */
export function createWorkloadApiEndpoint(options: WorkloadApiOptions): readonly GrpcMethod[] {
  const { fetchX509Svid, fetchX509Bundles, fetchJwtSvid, fetchJwtBundles } = WORKLOAD_API_SERVICE;
  const { validateJwtSvid: validate, fetchWitSvid, fetchWitBundles } = WORKLOAD_API_SERVICE;
  const endpoint = new WorkloadApi(options);
  return [
    endpoint.stream(fetchX509Svid.path, encodeX509Svids),
    endpoint.stream(fetchX509Bundles.path, encodeX509Bundles),
    endpoint.stream(fetchJwtBundles.path, encodeJwtBundles),
    endpoint.unary(fetchJwtSvid.path, (request, call) => endpoint.fetchJwtSvid(request, call)),
    endpoint.unary(validate.path, (request, call) => endpoint.validateJwtSvid(request, call)),
    endpoint.missing(fetchWitSvid.path),
    endpoint.missing(fetchWitBundles.path),
  ];
}

/** The errors that tell a caller no, as opposed to those that tell of trouble. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['invalid_request', 'no_identity', 'overloaded']);

class WorkloadApi {
  readonly #options: WorkloadApiOptions;
  readonly #limit: CallLimit;
  #streams = 0;

  constructor(options: WorkloadApiOptions) {
    this.#options = options;
    this.#limit = new CallLimit(options.maxCallsPerProcess ?? DEFAULT_MAX_CALLS);
  }

  stream(path: string, encode: (identity: CallerIdentity) => Uint8Array | undefined): ServerStreamMethod {
    const answer = this.#answers.bind(this);
    return { kind: 'server-stream', path, handle: (_request, call) => answer(path, call, encode) };
  }

  unary(path: string, respond: UnaryMethod['handle']): UnaryMethod {
    return {
      kind: 'unary',
      path,
      handle: async (request, call) => {
        let leave: (() => void) | undefined;
        try {
          leave = this.#admit(call);
          const response = await respond(request, call);
          this.#options.metrics.count('svidgate_workload_api_answers_total', { method: nameOf(path) });
          return response;
        } catch (error) {
          throw this.#refused(error, path, call);
        } finally {
          leave?.();
        }
      },
    };
  }

  /** WIT-SVIDs are another profile of the standard; a server without it says so. */
  missing(path: string): UnaryMethod {
    return {
      kind: 'unary',
      path,
      handle: (_request, call) => {
        checkSecurityHeader(call);
        throw new SvidgateError('unimplemented', 'WIT-SVIDs are not supported: fetch a JWT-SVID or an X.509-SVID');
      },
    };
  }

  async fetchJwtSvid(request: Uint8Array, call: CallContext): Promise<Uint8Array> {
    const question = readJwtSvidRequest(request);
    const caller = await attestCaller(call, this.#options.attestor);
    const held = await this.#options.identities.fetchJwtSvids(caller.selectors, { ...question, caller: caller.audit });
    if (held.length === 0) throw noIdentity();
    caller.assertAlive();
    return encodeJwtSvids(held);
  }

  async validateJwtSvid(request: Uint8Array, call: CallContext): Promise<Uint8Array> {
    const { clock, identities, attestor, isRevoked = () => false } = this.#options;
    const question = readValidateRequest(request);
    const caller = await attestCaller(call, attestor);
    const bundles = identities.current(caller.selectors);
    if (bundles === undefined) throw noIdentity();
    const response = await validateJwtSvid(question, { bundles, isRevoked, now: clock.now() });
    caller.assertAlive();
    return response;
  }

  async *#answers(
    path: string,
    call: CallContext,
    encode: (identity: CallerIdentity) => Uint8Array | undefined,
  ): AsyncGenerator<Uint8Array, void, void> {
    const { attestor, identities, metrics } = this.#options;
    let leave: (() => void) | undefined;
    this.#countStream(1);
    try {
      leave = this.#admit(call);
      const caller = await attestCaller(call, attestor);
      const held = identities.watch(caller.selectors, call.signal, caller.audit);
      for await (const answer of streamAnswers(held, encode, caller.assertAlive)) {
        metrics.count('svidgate_workload_api_answers_total', { method: nameOf(path) });
        yield answer;
      }
    } catch (error) {
      throw this.#refused(error, path, call);
    } finally {
      leave?.();
      this.#countStream(-1);
    }
  }

  /** Lets a call in, or throws; what it returns counts it out again. */
  #admit(call: CallContext): () => void {
    checkSecurityHeader(call);
    return this.#limit.enter(processOf(call));
  }

  #countStream(by: number): void {
    this.#streams += by;
    this.#options.metrics.gauge('svidgate_workload_api_streams', {}, this.#streams);
  }

  /** Records a refusal, and gives back the error that ends the call either way. */
  #refused(caught: unknown, path: string, call: CallContext): SvidgateError {
    const error = SvidgateError.from(caught);
    if (!REFUSALS.has(error.code)) return error;
    const { audit = noAudit, logger } = this.#options;
    const caller = auditCaller(call);
    logger.info(
      { method: path, caller_pid: caller.pid ?? 0, error_code: error.code, reason: error.message },
      'workload api call refused',
    );
    try {
      const failure_reason = `${error.code}: ${error.message}`;
      audit.record({ event: 'call_refused', method: nameOf(path), caller, result: 'failure', failure_reason });
    } catch {
      // Refused all the same; the audit log has reported that it failed.
    }
    return error;
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
