import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js';
import { SvidgateError, type ErrorCode } from '../core/index.ts';
import type { UnaryMethod } from './grpc-service.ts';

/**
 * Lets unary methods answer for what gRPC itself refuses before their handler is asked: a message that is too large,
 * cannot be decompressed, is missing or comes twice, a bad `grpc-timeout`, a deadline that passed. It stands directly
 * on grpc-js's own call object, whose every status goes through its `sendStatus`: an interceptor before it must return that
 * very object.
 */
export function answerFaults(methods: readonly UnaryMethod[]): ServerInterceptor {
  const byPath = new Map(methods.map((method) => [method.path, method]));
  return (definition, call) => {
    const method = byPath.get(definition.path);
    if (method?.onFault === undefined) return new ServerInterceptingCall(call);
    const { onFault } = method;
    const sendMessage = call.sendMessage.bind(call);
    const sendStatus = call.sendStatus.bind(call);
    let answered = false;
    call.sendMessage = (message, callback) => {
      if (answered) return;
      answered = true;
      sendMessage(message, callback);
    };
    call.sendStatus = (ending) => {
      if (ending.code === status.OK) return sendStatus(ending);
      // Once there is an answer, OK follows when it is written: a deadline that passes now must not spoil it.
      if (answered) return;
      answered = true;
      const reply = onFault(toError(ending.code ?? status.UNKNOWN));
      if (reply === undefined) return sendStatus(ending);
      sendMessage(reply, () => sendStatus({ code: status.OK, details: 'OK' }));
    };
    return new ServerInterceptingCall(call);
  };
}

const CODES: Partial<Record<status, ErrorCode>> = {
  [status.CANCELLED]: 'canceled',
  [status.DEADLINE_EXCEEDED]: 'deadline_exceeded',
  [status.RESOURCE_EXHAUSTED]: 'too_large',
  [status.UNKNOWN]: 'internal',
};

/** What grpc-js says beside the code may quote the caller. */
function toError(code: status): SvidgateError {
  return new SvidgateError(CODES[code] ?? 'invalid_request', `refused by gRPC: ${status[code]}`);
}
