import type { RequestIdentity } from '../peer/index.ts';
import type { InputNeeds } from '../policy/index.ts';
import type { CheckRequest } from '../proto/index.ts';
import { attributesInput } from './attributes.ts';
import { NO_BODY, parsedBody, type GrpcBodyReader } from './body/parsed-body.ts';
import type { Caller } from './caller.ts';
import { parseTarget } from './go-url.ts';
import { identityInput } from './identity-input.ts';
import { encodeInput, type InputObject, type InputValue } from './input-json.ts';

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
 * Reads the request, and gives what makes the input document from it: opa-envoy-plugin's shape, and what svidgate adds
 * under `svidgate`. Throws `invalid_request` when the path, the query or the body cannot be parsed, also where the policy
 * does not look at them, as the plugin does.
 * @param path what the policy sees in place of the request's path, where that is another: then the request's own is
 *   `svidgate.raw_path`
 */
export function inputDocument(
  request: CheckRequest,
  facts: InputFacts,
  options: InputOptions & { readonly path?: string | undefined },
): (needs?: InputNeeds) => Uint8Array {
  const { attributes } = request;
  const http = attributes?.request?.http ?? null;
  const principal = attributes?.source?.principal ?? '';
  const target = parseTarget(options.path ?? http?.path ?? '');
  const body = options.skipsBody
    ? undefined
    : http === null
      ? NO_BODY
      : parsedBody(http, target.path, options.readGrpc);
  const members = (needs: InputNeeds): InputObject => {
    const wants = (key: string): boolean => needs === 'all' || needs.has(key);
    return {
      attributes: attributes === null || !wants('attributes') ? undefined : attributesInput(attributes, options.path),
      parsed_path: target.path,
      parsed_query: wants('parsed_query') ? Object.fromEntries(target.query) : undefined,
      truncated_body: body?.isTruncated,
      source_principal: principal === '' ? undefined : principal,
      version: VERSION,
      svidgate: wants('svidgate')
        ? {
            caller: callerInput(facts.caller),
            ...identityInput(facts.identity),
            policy: facts.policy,
            raw_path: options.path === undefined ? undefined : http?.path,
          }
        : undefined,
    };
  };
  return (needs = 'all') => encodeInput(members(needs), body === undefined ? {} : { parsed_body: body.json }, needs);
}

const VERSION = { ext_authz: 'v3', encoding: 'protojson' };

function callerInput(caller: Caller): Readonly<Record<string, InputValue>> {
  return { kind: caller.kind, spiffe_ids: caller.spiffeIds ?? [], listener: caller.listener };
}
