import { SvidgateError, type AuditLog, type ErrorCode } from '../core/index.ts';
import type { CallContext } from './grpc-service.ts';

export interface RefusedCall {
  /** As the audit log names it. */
  readonly method: string;
  readonly call: Pick<CallContext, 'peer'>;
  /** Errors that say that a caller has not got what it asked for. */
  readonly refusals: ReadonlySet<ErrorCode>;
  /** Default: nobody is told. */
  readonly audit: AuditLog | undefined;
}

/** Records that somebody on a Unix socket was refused, and gives the error on. Failed attestations have a line of their own. */
export function recordRefusal(caught: unknown, { method, call, refusals, audit }: RefusedCall): SvidgateError {
  const error = SvidgateError.from(caught);
  if (!refusals.has(error.code) || call.peer.kind !== 'unix') return error;
  const { pid, uid, gid } = call.peer.process;
  const failure_reason = `${error.code}: ${error.message}`;
  try {
    audit?.record({ event: 'call_refused', method, caller: { pid, uid, gid }, result: 'failure', failure_reason });
  } catch {
    // Refused all the same; the audit log has reported that it failed.
  }
  return error;
}
