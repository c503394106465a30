package envoy.authz_test

import data.envoy.authz

web := "spiffe://prod.acme.test/web"

orders := "spiffe://prod.acme.test/orders"

rules := [
	{"from": [web], "to": [orders], "methods": ["GET", "HEAD"], "paths": ["/orders", "/orders/*", "/files/**"]},
	{"from": [web], "to": [orders], "methods": ["POST"], "paths": ["/", "/a/*/c", "/slash/"]},
	{"from": ["spiffe://prod.acme.test/admin"], "to": [orders], "methods": ["GET"], "paths": ["/**"]},
]

# The segments as the server gives them for a path without escapes.
segments(path) := split(trim_left(split(path, "?")[0], "/"), "/")

check(method, path) := {
	"attributes": {"request": {"http": {"method": method, "path": path}}},
	"parsed_path": segments(path),
	"svidgate": {
		"peer": {"verified": true, "spiffe_id": web},
		"caller": {"kind": "attested", "spiffe_ids": [orders]},
		"policy": "default",
	},
}

get_orders := check("GET", "/orders")

allowed(request) if authz.allow with input as request with data.rules as rules

from(peer, request) := object.union(request, {"svidgate": {"peer": {"spiffe_id": peer}}})

test_allowed[sprintf("%s %s", [case.method, case.path])] if {
	some case in [
		{"method": "GET", "path": "/orders"},
		{"method": "HEAD", "path": "/orders?limit=1"},
		{"method": "GET", "path": "/orders/7"},
		{"method": "GET", "path": "/files"},
		{"method": "GET", "path": "/files/a/b/c"},
		{"method": "GET", "path": "/files/a/"},
		{"method": "POST", "path": "/"},
		{"method": "POST", "path": "/a/b/c"},
		{"method": "POST", "path": "/slash/"},
	]
	allowed(check(case.method, case.path))
}

test_denied[sprintf("%s %s", [case.method, case.path])] if {
	some case in [
		{"method": "PUT", "path": "/orders"},
		{"method": "get", "path": "/orders"},
		{"method": "GET", "path": "/"},
		{"method": "GET", "path": "/orders/"},
		{"method": "GET", "path": "/orders/7/items"},
		{"method": "GET", "path": "/Orders"},
		{"method": "GET", "path": "/ordersx"},
		{"method": "GET", "path": "/filesx"},
		{"method": "GET", "path": "orders"},
		{"method": "GET", "path": ""},
		{"method": "POST", "path": "/a/c"},
		{"method": "POST", "path": "/slash"},
		{"method": "GET", "path": "/files/../orders"},
		{"method": "GET", "path": "/files/./a"},
		{"method": "GET", "path": "/files//a"},
		{"method": "GET", "path": "//files/a"},
		{"method": "GET", "path": "/files/a\\b"},
		{"method": "GET", "path": "/files/..;/admin"},
		{"method": "GET", "path": "/files/%2e%2e/orders"},
		{"method": "GET", "path": "/files/%2E/a"},
		{"method": "GET", "path": "/files/a%2fb"},
		{"method": "GET", "path": "/files/a%2Fb"},
		{"method": "GET", "path": "/files/a%5Cb"},
		{"method": "GET", "path": "/files/a%252fb"},
		{"method": "GET", "path": "/files/a%3bb"},
		{"method": "GET", "path": "/files/a%00"},
		{"method": "GET", "path": "/files/a%0D%0Ab"},
		{"method": "GET", "path": "/files/%c0%af"},
		{"method": "GET", "path": "/files/a#b"},
		{"method": "GET", "path": "/files/a#\\b"},
		{"method": "GET", "path": "/files/a%23b"},
		{"method": "GET", "path": "/files/a%3Fb"},
	]
	not allowed(check(case.method, case.path))
}

test_escapes_of_letters_are_allowed if {
	allowed(object.union(check("GET", "/files/%41"), {"parsed_path": ["files", "A"]}))
}

test_segments_that_the_server_decoded_to_dots_are_denied if {
	not allowed(object.union(check("GET", "/files/x"), {"parsed_path": ["files", ".."]}))
}

test_segments_that_are_not_utf8_are_denied[path] if {
	some path in ["/files/%e0%80%ae", "/files/%F0%80%80%AF", "/files/%ff"]
	not allowed(object.union(check("GET", path), {"parsed_path": ["files", "a\ufffd"]}))
}

test_empty_segments_that_the_server_saw_are_denied if {
	not allowed(object.union(check("GET", "/files/x"), {"parsed_path": ["files", "", "x"]}))
}

test_every_path_is_denied_when_odd_also_where_all_are_allowed if {
	admin := "spiffe://prod.acme.test/admin"
	allowed(from(admin, check("GET", "/anything/at/all")))
	allowed(from(admin, check("GET", "/")))
	not allowed(from(admin, check("GET", "/anything/../all")))
}

test_other_peers_are_denied if {
	not allowed(from("spiffe://prod.acme.test/other", get_orders))
	not allowed(from("spiffe://prod.acme.test/web/", get_orders))
	not allowed(from("", get_orders))
}

test_peers_that_were_not_verified_are_denied[name] if {
	some name, verified in {"false": false, "null": null, "the text true": "true", "a number": 1}
	not allowed(object.union(get_orders, {"svidgate": {"peer": {"verified": verified}}}))
}

test_callers_that_were_not_attested_are_denied if {
	not allowed(object.union(get_orders, {"svidgate": {"caller": {"kind": "anonymous"}}}))
}

test_callers_with_a_certificate_are_services_too if {
	allowed(object.union(get_orders, {"svidgate": {"caller": {"kind": "tls"}}}))
	not allowed(object.union(get_orders, {"svidgate": {"caller": {"kind": "tls", "spiffe_ids": [web]}}}))
}

test_other_services_are_denied if {
	not allowed(object.union(get_orders, {"svidgate": {"caller": {"spiffe_ids": []}}}))
	not allowed(object.union(get_orders, {"svidgate": {"caller": {"spiffe_ids": [web]}}}))
}

test_one_of_several_services_is_enough if {
	allowed(object.union(get_orders, {"svidgate": {"caller": {"spiffe_ids": [web, orders]}}}))
}

test_the_envoy_principal_alone_is_denied if {
	claimed := json.remove(get_orders, ["svidgate/peer"])
	not allowed(object.union(claimed, {"source_principal": web, "attributes": {"source": {"principal": web}}}))
}

test_what_is_missing_denies[path] if {
	some path in [
		"attributes",
		"attributes/request",
		"attributes/request/http",
		"attributes/request/http/method",
		"attributes/request/http/path",
		"parsed_path",
		"svidgate",
		"svidgate/peer",
		"svidgate/peer/verified",
		"svidgate/peer/spiffe_id",
		"svidgate/caller",
		"svidgate/caller/kind",
		"svidgate/caller/spiffe_ids",
	]
	not allowed(json.remove(get_orders, [path]))
}

test_an_empty_input_is_denied if {
	not allowed({})
}

test_without_rules_all_is_denied if {
	not authz.allow with input as get_orders with data.rules as []
	not authz.allow with input as get_orders with data.rules as null
	not authz.allow with input as get_orders with data.rules as {}
}

test_a_rule_that_lacks_a_part_allows_nothing[part] if {
	some part in ["from", "to", "methods", "paths"]
	some rule in rules
	not authz.allow with input as get_orders with data.rules as [json.remove(rule, [part])]
}

test_patterns_are_lists_of_texts_with_a_slash_first[name] if {
	some name, paths in {"a text": "/orders", "a number": [7], "no slash": ["orders", "**", "*"], "null": null}
	rule := object.union(rules[0], {"paths": paths})
	not authz.allow with input as get_orders with data.rules as [rule]
}
