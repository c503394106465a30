import type { VerifiedPeer } from '../../peer/index.ts';
import type { CheckRequest } from '../../proto/index.ts';
import { attributesInput } from './attributes.ts';
import type { Caller } from './caller.ts';
import { parseTarget } from './go-url.ts';
import { encodeInput } from './input-json.ts';

export interface InputFacts {
  readonly caller: Caller;
  readonly peer: VerifiedPeer;
  /** Name of the policy that is asked. */
  readonly policy: string;
}

/**
 * The input document as JSON text: opa-envoy-plugin's shape (with its `skip-request-body-parse`, so without
 * parsed_body and truncated_body), and what svidgate adds under `svidgate`. Throws `invalid_request` when the path or
 * query cannot be parsed.
 */
export function inputDocument(request: CheckRequest, facts: InputFacts): Uint8Array {
  const { attributes } = request;
  const principal = attributes?.source?.principal ?? '';
  const target = parseTarget(attributes?.request?.http?.path ?? '');
  return encodeInput({
    attributes: attributes === null ? undefined : attributesInput(attributes),
    parsed_path: target.path,
    parsed_query: Object.fromEntries(target.query),
    source_principal: principal === '' ? undefined : principal,
    version: { ext_authz: 'v3', encoding: 'protojson' },
    svidgate: { caller: callerInput(facts.caller), peer: peerInput(facts.peer), policy: facts.policy },
  });
}

function callerInput(caller: Caller): Readonly<Record<string, string | readonly string[]>> {
  return { kind: caller.kind, spiffe_ids: caller.kind === 'attested' ? caller.spiffeIds : [] };
}

function peerInput(peer: VerifiedPeer): Readonly<Record<string, string | boolean>> {
  return peer.verified
    ? { verified: true, spiffe_id: peer.spiffeId, serial: peer.serial }
    : { verified: false, reason: peer.reason };
}
