import { answerCheck, answerFault, type GateOptions, type GateReply } from '../../gate/index.ts';
import { AUTHORIZATION_SERVICE, CheckRequest, decodeMessage } from '../../proto/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import { allowReply, denyReply, errorReply } from './check-reply.ts';

export interface ExtAuthzOptions extends GateOptions {
  /** The largest message that is read. */
  readonly maxRequestBytes: number;
}

/** envoy.service.auth.v3.Authorization: every request gets a reply with an explicit status before its deadline. */
export function createExtAuthzEndpoint(options: ExtAuthzOptions): readonly GrpcMethod[] {
  return [
    {
      kind: 'unary',
      path: AUTHORIZATION_SERVICE.check.path,
      async handle(bytes, call) {
        const read = (): CheckRequest => decodeMessage(CheckRequest, bytes, options.maxRequestBytes);
        const reply = await answerCheck({ size: bytes.length, read }, call, options);
        if (reply.kind === 'grpc_error') throw reply.error;
        return encodeReply(reply);
      },
      onFault(error) {
        const reply = answerFault(error, options);
        return reply.kind === 'grpc_error' ? undefined : encodeReply(reply);
      },
    },
  ];
}

function encodeReply(reply: Exclude<GateReply, { readonly kind: 'grpc_error' }>): Uint8Array {
  switch (reply.kind) {
    case 'allow':
      return allowReply(reply.facts, reply.effects);
    case 'deny':
      return denyReply(reply.facts, reply.reply);
    case 'error':
      return errorReply(reply.facts);
  }
}
