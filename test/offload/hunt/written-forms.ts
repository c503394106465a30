/** Policies in all forms that Rego has, hostile to whoever translates them. */
import type { Aim, WrittenPolicy } from './policy.ts';

const alice = { certificate: 'alice' };
const header = (...pairs: readonly (readonly [string, string])[]): Aim => ({ headers: pairs });

export const WRITTEN_FORMS: readonly WrittenPolicy[] = [
  {
    name: 'functions',
    rules: `kind(path) := "open" if startswith(path, "/open")

kind(path) := "shut" if startswith(path, "/shut")

is_reader(method) if method in {"GET", "HEAD"}

allow if {
	kind(http.path) == "open"
	is_reader(http.method)
}

allow if {
	not is_reader(http.method)
	not kind(http.path) == "shut"
	headers["x-need"]
}`,
    aims: [{ path: '/open/x' }, { path: '/x', method: 'POST', ...header(['x-need', '1']) }],
  },
  {
    name: 'else_chain',
    rules: `level := 1 if {
	headers["x-role"] == "admin"
} else := 2 if {
	http.method == "GET"
} else := 3

allow if level == 1

allow if {
	level == 2
	startswith(http.path, "/r")
}

allow if {
	level > 2
	http.path == "/three"
}`,
    aims: [header(['x-role', 'admin']), { path: '/r' }, { path: '/three', method: 'POST' }],
  },
  {
    name: 'default_true',
    start: 'default allow := true',
    rules: `allow := false if startswith(http.path, "/admin")

allow := false if peer == bob

allow := false if headers["x-block"]`,
    aims: [{ path: '/x' }, alice],
  },
  {
    name: 'conflicts',
    start: '',
    rules: `allow := true if headers["x-need"]

allow := false if headers["x-block"] == "y"

allow := true if http.method == "POST"`,
    aims: [header(['x-need', '1']), { method: 'POST' }],
  },
  {
    name: 'objects',
    start: 'default allow := {"allowed": false}',
    rules: `allow := {"allowed": true} if http.path == "/plain"

allow := {"allowed": true, "headers": {"x-role": "admin"}} if http.path == "/headers"

allow := {"allowed": ok} if {
	startswith(http.path, "/var")
	ok := http.method == "GET"
}

allow := {"allowed": true, "dynamic_metadata": {"a": 1}} if http.path == "/metadata"`,
    aims: [{ path: '/plain' }, { path: '/headers' }, { path: '/varx' }, { path: '/metadata' }],
  },
  {
    name: 'odd_objects',
    start: '',
    rules: `allow := {"allowed": true, "headers": {}} if http.path == "/empty"

allow := {"allowed": true, "body": "x", "http_status": 200} if http.path == "/body"

allow := {"allowed": "true"} if http.path == "/text"

allow := {"allowed": true, "headers": {":path": "/x"}} if http.path == "/bad"

allow := {"allowed": true, "more": 1} if http.path == "/more"

allow := [true] if http.path == "/list"

allow := "true" if http.path == "/string"`,
    aims: [{ path: '/empty' }, { path: '/body' }, { path: '/text' }, { path: '/bad' }, { path: '/more' }],
  },
  {
    name: 'both_of_input',
    rules: `allow if http.method == headers["x-method"]

allow if startswith(http.path, concat("", ["/", headers["x-tenant"], "/"]))

allow if input.parsed_path[0] == input.parsed_path[1]

allow if input.attributes.source.principal == input.svidgate.peer.spiffe_id`,
    aims: [header(['x-method', 'GET']), { path: '/a/x', ...header(['x-tenant', 'a']) }, { path: '/x/x' }, alice],
  },
  {
    name: 'places',
    rules: `allow if {
	input.attributes.destination.address.socketAddress.portValue == 8080
	http.method == "GET"
}

allow if {
	input.attributes.destination.address.socketAddress.portValue > 8080
	net.cidr_contains("10.0.0.0/8", input.attributes.destination.address.socketAddress.address)
	http.method == "POST"
}

allow if {
	input.attributes.tlsSession.sni == "orders.test"
	http.method == "PUT"
}

allow if {
	not input.attributes.tlsSession.sni == "evil.test"
	http.method == "HEAD"
}`,
    aims: [{}, { port: 8081, method: 'POST' }, { serverName: 'orders.test', method: 'PUT' }, { method: 'HEAD' }],
  },
  {
    name: 'what_came',
    rules: `allow if {
	http.scheme == "https"
	http.path == "/s"
}

allow if {
	not http.body
	http.path == "/nobody"
}

allow if {
	input.parsed_body == null
	http.path == "/null"
}

allow if {
	not input.truncated_body
	http.path == "/whole"
}

allow if {
	http.protocol == "HTTP/1.1"
	http.path == "/one"
}`,
    aims: [{ path: '/s' }, { path: '/nobody' }, { path: '/null' }, { path: '/whole' }, { path: '/one' }],
  },
  {
    name: 'gate_only',
    rules: `allow if {
	input.svidgate.jwt.verified
	http.method == "GET"
}

allow if {
	not input.svidgate.jwt.verified
	http.method == "POST"
}

allow if {
	input.svidgate.xfcc.verified == false
	http.method == "PUT"
}

allow if {
	not input.svidgate.raw_path
	http.method == "HEAD"
}`,
    aims: [{ token: 'good' }, { method: 'POST' }, { method: 'PUT' }, { method: 'HEAD' }],
  },
  {
    name: 'compared',
    rules: `allow if {
	http.method < "H"
	http.path == "/c"
}

allow if {
	count(http.path) < 4
	http.method == "POST"
}

allow if {
	count(input.parsed_path) <= 2
	http.method == "PUT"
}

allow if {
	count(headers) > 20
}`,
    aims: [{ path: '/c' }, { path: '/x', method: 'POST' }, { path: '/x/y', method: 'PUT' }],
  },
  {
    name: 'collected',
    rules: `roles := {"admin", "editor"}

allow if count({role | some role in roles; role == headers["x-role"]}) > 0

allow if {
	seen := {method | method := http.method}
	"PUT" in seen
}

allow if count([x | x := headers[_]; x == "yes"]) == 1`,
    aims: [header(['x-role', 'admin']), { method: 'PUT' }, header(['x-a', 'yes'])],
  },
  {
    name: 'negated_twice',
    rules: `open if startswith(http.path, "/open")

shut if not open

allow if {
	not shut
	not hidden
}

hidden if {
	headers["x-hide"] == "y"
	not headers["x-show"] == "y"
}`,
    aims: [{ path: '/open' }, { path: '/openx', ...header(['x-hide', 'y'], ['x-show', 'y']) }],
  },
  {
    name: 'defaults_within',
    rules: `default role := "none"

role := headers["x-role"]

default is_local := false

is_local if http.host == "orders.test"

allow if {
	role == "none"
	is_local
}

allow if {
	role != "none"
	not is_local
	http.method == "GET"
}`,
    aims: [{}, { authority: 'evil.test', ...header(['x-role', 'x']) }],
  },
  {
    name: 'sets_of_prefixes',
    rules: `prefixes := ["/a/", "/b/", "/c?"]

allow if strings.any_prefix_match(http.path, prefixes)

allow if {
	some prefix in prefixes
	startswith(http.path, prefix)
	peer == alice
}

allow if {
	not strings.any_suffix_match(http.path, {".exe", ".dll"})
	startswith(http.path, "/files/")
}`,
    aims: [{ path: '/a/x' }, { path: '/c?x', ...alice }, { path: '/files/x.txt' }],
  },
  {
    name: 'clock',
    rules: `allow if {
	time.now_ns() > 0
	http.path == "/now"
}

allow if {
	input.attributes.request.time
	http.method == "POST"
}

allow if http.path == "/always"`,
    aims: [{ path: '/now' }, { path: '/always' }],
  },
  {
    name: 'wide_not',
    rules: `private if input.parsed_path[0] in {"private", "internal"}

private if startswith(http.path, "/private")

allow if {
	not private
	http.method in {"GET", "HEAD"}
	not headers["x-role"] in {"guest", "blocked"}
}`,
    aims: [{ path: '/x' }, { path: '/pr', ...header(['x-role', 'admin']) }],
  },
];
