import {
  CheckResponse,
  encodeMessage,
  jsonToStruct,
  type CheckResponseInit,
  type StructInit,
} from '../../proto/index.ts';

/** What Envoy keeps as dynamic metadata of the request, for its access log. */
export interface ReplyFacts {
  readonly decisionId: string;
  readonly policy: string;
  /** Why the request was denied. */
  readonly reason?: string;
}

/** google.rpc.Code. Envoy takes an absent status, and code 0, for an allow, whatever else is set. */
const OK = 0;
const PERMISSION_DENIED = 7;

/** The only way to an allow. */
export function allowReply(facts: ReplyFacts): Uint8Array {
  return encode({ status: { code: OK }, okResponse: {}, dynamicMetadata: metadata(facts) });
}

/** A deny with its HTTP status for the client; without a body. */
export function denyReply(facts: ReplyFacts, httpStatus: number): Uint8Array {
  return encode({
    status: { code: PERMISSION_DENIED, message: facts.reason ?? '' },
    deniedResponse: { status: { code: httpStatus } },
    dynamicMetadata: metadata(facts),
  });
}

/** `authz.on_error: error_response`: Envoy counts an error, and its `failure_mode_allow` applies. */
export function errorReply(facts: ReplyFacts): Uint8Array {
  return encode({
    status: { code: PERMISSION_DENIED, message: facts.reason ?? '' },
    errorResponse: { status: { code: 500 } },
    dynamicMetadata: metadata(facts),
  });
}

function encode(reply: CheckResponseInit & { readonly status: { readonly code: number } }): Uint8Array {
  return encodeMessage(CheckResponse, reply);
}

function metadata(facts: ReplyFacts): StructInit {
  return jsonToStruct({
    decision_id: facts.decisionId,
    policy: facts.policy,
    ...(facts.reason === undefined ? {} : { reason: facts.reason }),
  });
}
