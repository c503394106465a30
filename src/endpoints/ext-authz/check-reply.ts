import { bodyOf, statusOf, type DenyReply, type ReplyFacts } from '../../gate/index.ts';
import type { AllowEffects, HeaderField } from '../../policy/index.ts';
import {
  CheckResponse,
  encodeMessage,
  jsonToStruct,
  type CheckResponseInit,
  type JsonObject,
  type StructInit,
} from '../../proto/index.ts';

/** google.rpc.Code. Envoy takes an absent status, and code 0, for an allow, whatever else is set. */
const OK = 0;
const PERMISSION_DENIED = 7;

/** The only way to an allow. */
export function allowReply(facts: ReplyFacts, effects?: AllowEffects): Uint8Array {
  return encode({
    status: { code: OK },
    okResponse: effects === undefined ? {} : okResponse(effects),
    dynamicMetadata: metadata(facts, effects?.dynamicMetadata),
  });
}

/** A deny with its HTTP status for the client. */
export function denyReply(facts: ReplyFacts, reply: DenyReply): Uint8Array {
  const { effects } = reply;
  const code = statusOf(reply);
  const headers = (effects?.headers ?? []).map((header) => option(header, false));
  const body = bodyOf(reply, facts);
  if (body.contentType !== undefined) {
    headers.push(option({ name: 'content-type', value: body.contentType }, false));
  }
  return encode({
    status: { code: PERMISSION_DENIED, message: facts.reason ?? '' },
    deniedResponse: { status: { code }, headers, body: body.text },
    dynamicMetadata: metadata(facts, effects?.dynamicMetadata),
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

function okResponse(effects: AllowEffects): NonNullable<CheckResponseInit['okResponse']> {
  return {
    headers: requestHeaders(effects.headers),
    headersToRemove: effects.requestHeadersToRemove.map((name) => name.toLowerCase()),
    // Envoy adds before it sets: a mixture would lose values. Adding to what the upstream sent is the plugin's effect, too.
    responseHeadersToAdd: effects.responseHeadersToAdd.map((header) => option(header, true)),
    queryParametersToSet: effects.queryParametersToSet.map(({ name, value }) => ({
      key: queryText(name),
      value: queryText(value),
    })),
    queryParametersToRemove: effects.queryParametersToRemove,
  };
}

/** Envoy writes it into the path as it is: a space would end the request line there. What may stand in a query stays. */
function queryText(text: string): string {
  return text.toWellFormed().replace(/[^!$%&'()*+,./0-9:;=?@A-Z_a-z~-]/gu, encodeURIComponent);
}

/**
 * The first value takes the place of what the client sent, the others join it. They are in the order of their names.
 * Envoy appends only to what is there, and without `append` each value would replace the one before.
 */
function requestHeaders(headers: readonly HeaderField[]): readonly HeaderOption[] {
  let before = '';
  return headers.map((header) => {
    const name = header.name.toLowerCase();
    const append = name === before;
    before = name;
    return option(header, append);
  });
}

type HeaderOption = ReturnType<typeof option>;

/** `append` in all cases: versions of Envoy differ in what its absence means (1.37.0 appended). */
function option({ name, value }: HeaderField, append: boolean) {
  return { header: { key: name.toLowerCase(), value }, append: { value: append } };
}

/** What the policy gives, ours beside it; the decision id is always ours. */
function metadata(facts: ReplyFacts, given: JsonObject = {}): StructInit {
  return jsonToStruct({
    policy: facts.policy,
    ...(facts.reason === undefined ? {} : { reason: facts.reason }),
    ...(facts.isDryRun === true ? { dry_run: true } : {}),
    ...given,
    decision_id: facts.decisionId,
  });
}
