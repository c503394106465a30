import {
  SvidgateError,
  type AuditCaller,
  type AuditEvent,
  type AuditLog,
  type Clock,
  type Logger,
} from '../../core/index.ts';
import {
  ADMIN_RPCS,
  adminRpc,
  decodeMessage,
  encodeMessage,
  type AdminRequest,
  type AdminResponseInit,
  type AdminRpcName,
} from '../../proto/index.ts';
import type { CallContext, GrpcMethod } from '../../transport/index.ts';
import { authorize, rolesOf, type AdminCaller, type Grant } from './access.ts';
import { ADMIN_MAX_MESSAGE_BYTES, checkRequestSize } from './request-size.ts';

/** What a call is about, for its line in the audit log. */
export type AuditSubject = Pick<
  Extract<AuditEvent, { event: 'admin_call' }>,
  'spiffe_id' | 'entry_id' | 'serial' | 'authority_id' | 'policy'
>;

/** One call that may be made. */
export interface AdminCall {
  /** For the audit log, such as `EntryAdmin/CreateEntry`. */
  readonly method: string;
  readonly caller: AuditCaller;
  readonly grant: Grant;
  readonly signal: AbortSignal;
  /** Says what the call is about. */
  readonly about: (subject: AuditSubject) => void;
}

/** What a method does once its caller is known to have the right. Throws a SvidgateError when it changed nothing. */
export type Handler<Name extends AdminRpcName> = (
  request: AdminRequest<Name>,
  call: AdminCall,
) => AdminResponseInit<Name> | Promise<AdminResponseInit<Name>>;

/** As Handler. Its first response is made before the call counts as answered. */
export type StreamHandler<Name extends AdminRpcName> = (
  request: AdminRequest<Name>,
  call: AdminCall,
) => AsyncGenerator<AdminResponseInit<Name>, void, void>;

export interface AdminMethodsOptions {
  readonly callers: readonly AdminCaller[];
  readonly clock: Clock;
  readonly audit: AuditLog;
  readonly logger: Logger;
}

/** Makes gRPC methods of handlers: each call's right is checked first, and each is audited, refused ones too. */
export interface AdminMethods {
  unary<Name extends AdminRpcName>(name: Name, handle: Handler<Name>): GrpcMethod;
  stream<Name extends AdminRpcName>(name: Name, handle: StreamHandler<Name>): GrpcMethod;
}

export function createAdminMethods(options: AdminMethodsOptions): AdminMethods {
  return {
    unary<Name extends AdminRpcName>(name: Name, handle: Handler<Name>): GrpcMethod {
      const rpc = adminRpc(name);
      return {
        kind: 'unary',
        path: rpc.path,
        handle: (bytes, context) =>
          answer(name, { ...options, context }, async (call) => {
            checkRequestSize(name, bytes);
            const request = decodeMessage(rpc.request, bytes, ADMIN_MAX_MESSAGE_BYTES);
            return encodeMessage(rpc.response, await handle(request, call));
          }),
      };
    },
    stream<Name extends AdminRpcName>(name: Name, handle: StreamHandler<Name>): GrpcMethod {
      const rpc = adminRpc(name);
      return {
        kind: 'server-stream',
        path: rpc.path,
        async *handle(bytes, context) {
          const { first, rest } = await answer(name, { ...options, context }, async (call) => {
            checkRequestSize(name, bytes);
            const responses = handle(decodeMessage(rpc.request, bytes, ADMIN_MAX_MESSAGE_BYTES), call);
            return { first: await responses.next(), rest: responses };
          });
          if (first.done === true) return;
          try {
            yield encodeMessage(rpc.response, first.value);
            for await (const response of rest) yield encodeMessage(rpc.response, response);
          } catch (error) {
            throw withCode(error);
          } finally {
            await rest.return();
          }
        },
      };
    },
  };
}

/**
 * Checks the right, does the work and writes the line of the audit log, before anything of the answer leaves. What a call
 * changes is audited by itself before it takes effect.
 */
async function answer<T>(
  name: AdminRpcName,
  options: AdminMethodsOptions & { readonly context: CallContext },
  work: (call: AdminCall) => Promise<T>,
): Promise<T> {
  const { context, callers, clock, audit, logger } = options;
  const startedAt = clock.now();
  const caller = callerOf(context);
  const method = ADMIN_RPCS[name].path.split('.').at(-1) ?? name;
  let role = caller.uid === undefined ? 'none' : rolesOf(caller.uid, callers);
  let subject: AuditSubject = {};
  const record = (failure?: SvidgateError): void =>
    audit.record({
      event: 'admin_call',
      method,
      caller,
      role,
      result: failure === undefined ? 'success' : 'failure',
      ...(failure === undefined ? {} : { failure_reason: `${failure.code}: ${failure.message}` }),
      duration_ms: Math.max(0, clock.now() - startedAt),
      ...subject,
    });
  try {
    if (caller.uid === undefined) {
      throw new SvidgateError('permission_denied', 'the admin API is served on a Unix socket only');
    }
    const grant = authorize(name, caller.uid, callers);
    ({ role } = grant);
    const about = (more: AuditSubject): void => void (subject = { ...subject, ...more });
    const result = await work({ method, caller, grant, signal: context.signal, about });
    record();
    return result;
  } catch (caught) {
    const error = SvidgateError.from(caught);
    if (error.code === 'permission_denied') {
      logger.warn({ method: ADMIN_RPCS[name].path, reason: error.message }, 'admin call refused');
    }
    throw withCode(error.code === 'audit_failed' ? error : recordFailure(record, error));
  }
}

/** Gives the error that the caller is told: this one, or that it could not be recorded. */
function recordFailure(record: (failure: SvidgateError) => void, failure: SvidgateError): SvidgateError {
  try {
    record(failure);
    return failure;
  } catch (error) {
    return SvidgateError.from(error);
  }
}

function callerOf({ peer }: CallContext): AuditCaller {
  if (peer.kind !== 'unix') return {};
  const { pid, uid, gid } = peer.process;
  return { pid, uid, gid };
}

/** The message of a status is an HTTP/2 header, of which Node takes 16 KiB in all, with three bytes for some characters. */
const MAX_STATUS_LENGTH = 3000;

/** A gRPC status says less than our codes do: the message starts with the code, for the client to tell them apart. */
function withCode(caught: unknown): SvidgateError {
  const error = SvidgateError.from(caught);
  const message = `${error.code}: ${error.message}`;
  const cut = message.length <= MAX_STATUS_LENGTH ? message : `${message.slice(0, MAX_STATUS_LENGTH).toWellFormed()} …`;
  return new SvidgateError(error.code, cut, { cause: error.cause });
}
