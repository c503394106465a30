package envoy.federated_test

import data.envoy.federated

billing := "spiffe://partner.test/billing"

peers := [
	{"spiffe_id": billing, "methods": ["POST"], "paths": ["/invoices"]},
	{"spiffe_id": "spiffe://partner.test/**", "methods": ["GET"], "paths": ["/**"]},
]

check(method, path) := {
	"attributes": {"request": {"http": {"method": method, "path": path}}},
	"parsed_path": split(trim_left(path, "/"), "/"),
	"svidgate": {"peer": {"verified": true, "spiffe_id": billing}},
}

allowed(request) if federated.allow with input as request with data.federated.peers as peers

test_the_row_allows if allowed(check("POST", "/invoices"))

test_denied[name] if {
	some name, request in {
		"another method": check("GET", "/invoices"),
		"another path": check("POST", "/invoices/7"),
		"a path with two readings": check("POST", "/x/../invoices"),
		"a neighbour": object.union(check("POST", "/invoices"), {"svidgate": {"peer": {"spiffe_id": "spiffe://partner.test/billing2"}}}),
		"the same path elsewhere": object.union(check("POST", "/invoices"), {"svidgate": {"peer": {"spiffe_id": "spiffe://evil.test/billing"}}}),
		"not verified": object.union(check("POST", "/invoices"), {"svidgate": {"peer": {"verified": false}}}),
		"nothing": {},
	}
	not allowed(request)
}

test_patterns_are_no_ids if {
	not allowed(object.union(check("GET", "/x"), {"svidgate": {"peer": {"spiffe_id": "spiffe://partner.test/web"}}}))
}
