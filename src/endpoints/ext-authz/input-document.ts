import type { RequestIdentity } from '../../peer/index.ts';
import type { CheckRequest } from '../../proto/index.ts';
import { attributesInput } from './attributes.ts';
import { NO_BODY, parsedBody, type GrpcBodyReader } from './body/parsed-body.ts';
import type { Caller } from './caller.ts';
import { parseTarget } from './go-url.ts';
import { identityInput } from './identity-input.ts';
import { encodeInput, type InputValue } from './input-json.ts';

/** What stands under `input.svidgate`. */
export interface InputFacts {
  readonly caller: Caller;
  readonly identity: RequestIdentity;
  /** Name of the policy that is asked. */
  readonly policy: string;
}

export interface InputOptions {
  /** opa-envoy-plugin's `skip-request-body-parse`: there is no parsed_body and no truncated_body. */
  readonly skipsBody: boolean;
  /** Absent without `authz.proto_descriptor`. */
  readonly readGrpc?: GrpcBodyReader;
}

/**
 * The input document as JSON text: opa-envoy-plugin's shape, and what svidgate adds under `svidgate`. Throws
 * `invalid_request` when the path, the query or the body cannot be parsed.
 * @param path what the policy sees in place of the request's path, where that is another: then the request's own is
 *   `svidgate.raw_path`
 */
export function inputDocument(
  request: CheckRequest,
  facts: InputFacts,
  options: InputOptions & { readonly path?: string | undefined },
): Uint8Array {
  const { attributes } = request;
  const http = attributes?.request?.http ?? null;
  const principal = attributes?.source?.principal ?? '';
  const target = parseTarget(options.path ?? http?.path ?? '');
  const body = options.skipsBody
    ? undefined
    : http === null
      ? NO_BODY
      : parsedBody(http, target.path, options.readGrpc);
  return encodeInput(
    {
      attributes: attributes === null ? undefined : attributesInput(attributes, options.path),
      parsed_path: target.path,
      parsed_query: Object.fromEntries(target.query),
      truncated_body: body?.isTruncated,
      source_principal: principal === '' ? undefined : principal,
      version: { ext_authz: 'v3', encoding: 'protojson' },
      svidgate: {
        caller: callerInput(facts.caller),
        ...identityInput(facts.identity),
        policy: facts.policy,
        raw_path: options.path === undefined ? undefined : http?.path,
      },
    },
    body === undefined ? {} : { parsed_body: body.json },
  );
}

function callerInput(caller: Caller): Readonly<Record<string, InputValue>> {
  return { kind: caller.kind, spiffe_ids: caller.spiffeIds ?? [], listener: caller.listener };
}
