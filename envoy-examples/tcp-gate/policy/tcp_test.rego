package envoy.authz_test

import data.envoy.authz

rules := [{"from": ["spiffe://mesh.test/web"], "to": ["spiffe://mesh.test/ledger"]}]

connection := {"svidgate": {
	"peer": {"verified": true, "spiffe_id": "spiffe://mesh.test/web"},
	"caller": {"kind": "attested", "spiffe_ids": ["spiffe://mesh.test/ledger"]},
}}

allowed(checked) if authz.allow with input as checked with data.rules as rules

test_a_connection_of_the_table_is_allowed if allowed(connection)

test_denied[name] if {
	some name, checked in {
		"another peer": object.union(connection, {"svidgate": {"peer": {"spiffe_id": "spiffe://mesh.test/other"}}}),
		"one that is not verified": object.union(connection, {"svidgate": {"peer": {"verified": false}}}),
		"another service": object.union(connection, {"svidgate": {"caller": {"spiffe_ids": ["spiffe://mesh.test/web"]}}}),
		"a request": object.union(connection, {"attributes": {"request": {"http": {"method": "GET"}}}}),
		"nothing": {},
	}
	not allowed(checked)
}
