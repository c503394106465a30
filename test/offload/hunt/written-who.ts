/** Policies about headers, hosts and who asks, hostile to whoever translates them: missing, repeated, or of bytes that are no text. */
import { BILLING, ORDERS } from './draw.ts';
import type { Aim, WrittenPolicy } from './policy.ts';

const alice = { certificate: 'alice' };
const header = (...pairs: readonly (readonly [string, string])[]): Aim => ({ headers: pairs });

export const WRITTEN_WHO: readonly WrittenPolicy[] = [
  {
    name: 'deny_list',
    rules: `allow if {
	http.method == "GET"
	not denied
}

denied if headers["x-block"]

denied if not headers["x-need"]

denied if startswith(http.path, "/admin")

denied if input.parsed_path[0] == "admin"

denied if peer in {bob}

denied if {
	some value in headers
	contains(value, "evil")
}`,
    aims: [
      { path: '/things', ...header(['x-need', 'y']) },
      { path: '/things', ...alice, ...header(['x-need', 'y']) },
    ],
  },
  {
    name: 'deny_list_plain',
    rules: `allow if {
	http.method == "GET"
	not denied
}

denied if headers["x-block"]

denied if not headers["x-need"]

denied if headers["x-a"] == "b"

denied if startswith(http.path, "/admin")

denied if peer in {bob}`,
    aims: [
      { path: '/things', ...header(['x-need', 'y']) },
      { path: '/things', ...alice, ...header(['x-need', '']) },
    ],
  },
  {
    name: 'header_equal',
    rules: `allow if headers["x-role"] == "admin"

allow if headers["x-a"] == ""

allow if headers["x-b"] == "a,b"`,
    aims: [header(['x-role', 'admin']), header(['x-a', '']), header(['x-b', 'a'], ['x-b', 'b'])],
  },
  {
    name: 'header_other',
    rules: `allow if {
	headers["x-a"] != "b"
	http.method == "GET"
}

allow if {
	not headers["x-a"] == "b"
	http.method == "POST"
}

allow if {
	not startswith(headers["x-a"], "b")
	http.method == "PUT"
}`,
    aims: [
      header(['x-a', 'c']),
      { method: 'POST' },
      { method: 'PUT', ...header(['x-a', 'c']) },
      { method: 'POST', ...header(['x-a', 'c']) },
    ],
  },
  {
    name: 'header_there',
    rules: `allow if headers["x-need"]

allow if {
	not headers["x-block"]
	http.method == "POST"
}

allow if {
	object.get(headers, "x-role", "none") == "none"
	http.method == "PUT"
}`,
    aims: [
      header(['x-need', '']),
      { method: 'POST' },
      { method: 'PUT' },
      { method: 'PUT', ...header(['x-role', 'none']) },
    ],
  },
  {
    name: 'header_names',
    rules: `allow if headers["X-Role"] == "admin"

allow if contains(headers["X-Role"], "dit")

allow if headers.host == "orders.test"

allow if {
	not headers.host
	http.method == "PUT"
}

allow if headers[":authority"] == "orders.test:8080"

allow if headers[":method"] == "POST"`,
    aims: [
      header(['x-role', 'admin']),
      header(['x-role', 'editor']),
      { method: 'PUT' },
      { authority: 'orders.test:8080' },
      { method: 'POST' },
      { path: '/x' },
    ],
  },
  {
    name: 'hosts',
    rules: `allow if {
	http.host == "orders.test"
	http.method == "GET"
}

allow if {
	lower(http.host) in {"orders.test", "orders.test:8080"}
	http.method == "POST"
}

allow if {
	not endswith(http.host, ".test")
	http.method == "PUT"
}`,
    aims: [{}, { method: 'POST', authority: 'Orders.test' }, { method: 'PUT', authority: 'evil.example' }],
  },
  {
    name: 'headers_all',
    rules: `allow if {
	every name, value in headers {
		name != "x-bad"
		value != "bad"
	}
}

allow if {
	some name, value in headers
	startswith(name, "x-ten")
	value == "a"
}`,
    aims: [{ path: '/x' }, header(['x-tenant', 'a'], ['x-bad', '1'])],
  },
  {
    name: 'text_of_bytes',
    rules: `allow if headers["x-name"] == "é"

allow if {
	not headers["x-a"] == "a!"
	not contains(headers["x-name"], "!")
	http.method == "POST"
}

allow if regex.match("^[^a-z]+$", headers["x-b"])`,
    aims: [
      header(['x-name', '\xc3\xa9']),
      { method: 'POST', ...header(['x-name', 'a\xff'], ['x-a', 'b']) },
      header(['x-b', 'AB']),
    ],
  },
  {
    name: 'peers',
    rules: `allow if {
	peer in {alice, "spiffe://partner.test/shop"}
	http.method in {"GET", "POST"}
}`,
    aims: [alice, { certificate: 'shop', method: 'POST' }],
  },
  {
    name: 'peer_prefix',
    rules: `allow if startswith(peer, "spiffe://example.test/")

allow if {
	endswith(peer, "/shop")
	http.method == "POST"
}`,
    aims: [alice, { certificate: 'gateway' }, { certificate: 'shop', method: 'POST' }],
  },
  {
    name: 'peer_prefix_but',
    rules: `allow if {
	startswith(peer, "spiffe://example.test/")
	not contains(peer, "bob")
	peer != "spiffe://example.test/mallory"
	http.method == "PUT"
}

allow if {
	input.svidgate.peer.verified
	not startswith(input.source_principal, "spiffe://example.test/a")
	http.method == "HEAD"
}`,
    aims: [
      { ...alice, method: 'PUT' },
      { certificate: 'bob', method: 'PUT' },
      { certificate: 'bob', method: 'HEAD' },
      { ...alice, method: 'HEAD' },
    ],
  },
  {
    name: 'peer_patterns',
    rules: `allow if {
	regex.match(\`^spiffe://example\\.test/[a-f]+\`, peer)
	http.method == "GET"
}

allow if {
	not regex.match("[b-m]ob", peer)
	regex.match("^[a-z:/.]+/[a-o]+$", peer)
	http.method == "PUT"
}

allow if {
	glob.match("spiffe://*/b*", ["/"], peer)
	http.method == "POST"
}

allow if {
	split(peer, "/")[3] == "alice"
	http.method == "HEAD"
}`,
    aims: [
      alice,
      { ...alice, method: 'PUT' },
      { certificate: 'bob', method: 'POST' },
      { certificate: 'bob', method: 'PUT' },
      { ...alice, method: 'HEAD' },
    ],
  },
  {
    name: 'peer_not',
    rules: `allow if {
	not peer == bob
	http.method == "GET"
}

allow if {
	not peer in {bob, alice}
	http.method == "POST"
}

allow if {
	peer != bob
	http.method == "PUT"
}`,
    aims: [
      {},
      alice,
      { certificate: 'mallory', method: 'POST' },
      { ...alice, method: 'PUT' },
      { certificate: 'two URIs' },
    ],
  },
  {
    name: 'peer_unproven',
    rules: `allow if input.svidgate.peer.verified == false

allow if {
	not input.svidgate.peer.verified
	http.method == "POST"
}`,
    aims: [{}, { method: 'POST' }],
  },
  {
    name: 'principal',
    rules: `allow if input.source_principal == alice

allow if input.attributes.source.principal == bob

allow if {
	not input.source_principal
	http.method == "POST"
}`,
    aims: [alice, { certificate: 'bob' }, { method: 'POST' }],
  },
  {
    name: 'callers',
    rules: `allow if {
	"${ORDERS}" in input.svidgate.caller.spiffe_ids
	http.method == "GET"
}

allow if {
	some id in input.svidgate.caller.spiffe_ids
	startswith(id, "spiffe://example.test/b")
	http.method == "POST"
}

allow if {
	not "${BILLING}" in input.svidgate.caller.spiffe_ids
	http.method == "PUT"
}

allow if {
	input.svidgate.caller.kind == "attested"
	http.method == "HEAD"
}`,
    aims: [
      {},
      { method: 'POST', callerIds: [BILLING] },
      { method: 'PUT' },
      { method: 'HEAD' },
      { callerIds: [BILLING, ORDERS] },
    ],
  },
  {
    name: 'caller_pairs',
    rules: `pairs := {["${ORDERS}", alice], ["${BILLING}", bob]}

allow if {
	some caller in input.svidgate.caller.spiffe_ids
	[caller, peer] in pairs
}

allow if {
	input.svidgate.caller.spiffe_ids[0] == "${ORDERS}"
	http.method == "POST"
}

allow if {
	count(input.svidgate.caller.spiffe_ids) == 1
	http.method == "PUT"
}`,
    aims: [alice, { certificate: 'bob', callerIds: [BILLING] }, { method: 'POST' }, { method: 'PUT' }],
  },
];
