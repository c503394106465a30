import type { ErrorCode, SvidgateError } from '../../core/index.ts';
import { answerCheck, answerFault, type GateOptions } from '../../gate/index.ts';
import type { HttpCall, HttpReply } from '../../transport/index.ts';
import type { AskedPath, RequestScheme } from './asked-path.ts';
import { AskedHeaders } from './asked-headers.ts';
import { checkRequestOf } from './check-request.ts';
import { httpReply } from './http-reply.ts';
import { EXPECTED_TIMEOUT } from './original-request.ts';

export interface HttpAuthzOptions extends GateOptions {
  /** Who asks. Its headers alone are believed. */
  readonly scheme: RequestScheme;
  readonly path: AskedPath;
  /** With `envoy` alone. */
  readonly isPeerInXfcc: boolean;
}

export interface HttpAuthzEndpoint {
  handle(call: HttpCall): Promise<HttpReply>;
  onFault(error: SvidgateError): HttpReply;
}

/** What a client may bring about by what it sends is a deny, whatever `on_error` says. */
const DENIED: ReadonlySet<ErrorCode> = new Set(['certificate_invalid', 'invalid_request', 'too_large', 'canceled']);

/** Every call gets a 200 for an allow, and anything but 1xx, 2xx and 5xx for a deny. */
export function createHttpAuthzEndpoint(options: HttpAuthzOptions): HttpAuthzEndpoint {
  const { scheme, rules } = options;
  // Only Envoy takes headers out when it is told.
  const http = { removesHeaders: scheme === 'envoy' };
  const gate: GateOptions = { ...options, rules: { ...rules, reply: { ...rules.reply, http } } };
  return {
    async handle(call) {
      const { peer, signal, headers, body } = call;
      const size = headers.reduce((sum, [name, value]) => sum + name.length + value.length, body.length);
      const question = {
        size,
        read: (caller: Parameters<typeof checkRequestOf>[1]) => checkRequestOf(call, caller, options),
      };
      return httpReply(
        await answerCheck(question, { peer, signal, deadline: deadlineOf(call, options) }, gate),
        scheme,
      );
    },
    onFault: (error) => httpReply(answerFault(error, gate, DENIED), scheme),
  };
}

/** Epoch milliseconds. Only Envoy says how long it waits. */
function deadlineOf({ headers }: HttpCall, { scheme, clock }: HttpAuthzOptions): number | undefined {
  const text = scheme === 'envoy' ? new AskedHeaders(headers).single(EXPECTED_TIMEOUT) : undefined;
  return text !== undefined && /^\d{1,9}$/.test(text) ? clock.now() + Number(text) : undefined;
}
