import {
  SvidgateError,
  type AuditLog,
  type Clock,
  type ErrorCode,
  type Logger,
  type Metrics,
} from '../../core/index.ts';
import type { LoggedAnswerRecorder, OffloadBooks } from '../../evidence/index.ts';
import type { OffloadSource } from '../../offload/index.ts';
import type { PolicyRecording } from '../../policy/index.ts';
import { ACCESS_LOG_SERVICE, METRICS_SERVICE } from '../../proto/index.ts';
import { recordRefusal, type CallContext, type StreamMethod } from '../../transport/index.ts';
import { takeLogs } from './access-log-stream.ts';
import { identify, type CallerSources, type LoggingCaller } from './caller.ts';
import { CommonAnswers } from './common-answers.ts';
import { FairTurns } from './fair-turns.ts';
import { takeMetrics } from './metrics-stream.ts';
import { PolicyRecordings } from './policy-recordings.ts';

/** What is recorded of those who may not log. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['invalid_request', 'overloaded']);

export interface AccessLogOptions {
  readonly attestor: CallerSources['attestor'];
  readonly entries: CallerSources['entries'];
  readonly source: Pick<OffloadSource, 'mayHave' | 'originOf'>;
  /** Whether Envoys may refuse by themselves what nobody may have. */
  readonly hasFastDeny: (policy: string) => boolean;
  /** Resolves when the rules of the policy are known, if they soon are: after a restart Envoys go on by those of before. */
  readonly whenKnown: (policy: string, signal: AbortSignal) => Promise<void>;
  /** What records of decisions by the policy in force follow. */
  readonly recordingOf: (policy: string) => PolicyRecording | undefined;
  readonly books: OffloadBooks;
  readonly recorder: LoggedAnswerRecorder;
  /** Told of refusals. Default: nobody is. */
  readonly audit?: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Of one process: an Envoy has one for each of its threads and logs. */
const MAX_STREAMS = 256;

/** envoy.service.accesslog.v3 and envoy.service.metrics.v3 for the attested socket: what Envoys answered by themselves. */
export function createAccessLogEndpoint(options: AccessLogOptions): readonly StreamMethod[] {
  const { recordingOf } = options;
  const turns = new FairTurns();
  const context = { ...options, turns, common: new CommonAnswers(new PolicyRecordings(recordingOf)) };
  const open = new Map<number, number>();
  const method = (path: string, take: (message: Uint8Array, caller: LoggingCaller) => Promise<void>): StreamMethod => ({
    kind: 'stream',
    path,
    // Envoy is answered nothing, and waits for nothing.
    // eslint-disable-next-line require-yield
    async *handle(requests, call) {
      using _ = countStream(open, call);
      try {
        const caller = await identify(call, options);
        for await (const message of requests) await take(message, caller);
      } catch (error) {
        const method = path.slice(path.lastIndexOf('/') + 1);
        throw recordRefusal(error, { method, call, refusals: REFUSALS, audit: options.audit });
      }
    },
  });
  return [
    method(ACCESS_LOG_SERVICE.streamAccessLogs.path, (message, caller) => takeLogs(message, caller, context)),
    method(METRICS_SERVICE.streamMetrics.path, (message, caller) => takeMetrics(message, caller, context)),
  ];
}

/** Throws `overloaded`. */
function countStream(open: Map<number, number>, { peer }: CallContext): Disposable {
  const pid = peer.kind === 'unix' ? peer.process.pid : 0;
  const count = open.get(pid) ?? 0;
  if (count >= MAX_STREAMS) throw new SvidgateError('overloaded', `more than ${MAX_STREAMS} streams of logs`);
  open.set(pid, count + 1);
  return {
    [Symbol.dispose]() {
      const left = (open.get(pid) ?? 1) - 1;
      if (left === 0) open.delete(pid);
      else open.set(pid, left);
    },
  };
}
