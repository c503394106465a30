import type { Rules } from './model.ts';

export const TRUST_DOMAIN = 'soak.test';

export function peerId(peer: number): string {
  return `spiffe://${TRUST_DOMAIN}/peer/${peer}`;
}

/** Its answers carry the generation. */
export function firstPolicy(rules: Rules): string {
  return `package envoy.authz

${rulesText(rules)}

request := input.attributes.request.http

peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true

default granted := false

granted if input.parsed_path[0] == "public"

granted if {
	input.parsed_path[0] == "orders"
	request.method == "GET"
	peer in members
}

granted if {
	input.parsed_path[0] == "orders"
	request.method == "POST"
	peer in members
	is_number(input.parsed_body.amount)
	input.parsed_body.amount <= limit
}

granted if {
	input.parsed_path[0] == "token"
	input.svidgate.jwt.verified == true
	input.svidgate.jwt.spiffe_id in members
}

shown := {"x-generation": generation}

allow := {"allowed": granted, "headers": shown, "response_headers_to_add": shown}
`;
}

/** A boolean. */
export function secondPolicy(rules: Rules): string {
  return `package second

${rulesText(rules)}

default allow := false

allow if {
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id in members
}
`;
}

/** What nothing can compile. */
export function brokenPolicy(generation: number): string {
  return `package envoy.authz

allow if undefined_function_${generation}(input)
`;
}

function rulesText({ generation, members, limit }: Rules): string {
  return [
    `generation := "${generation}"`,
    `limit := ${limit}`,
    // An empty \`{}\` would be an object.
    `members := {${['"nobody"', ...members.map((peer) => JSON.stringify(peerId(peer)))].join(', ')}}`,
  ].join('\n\n');
}
