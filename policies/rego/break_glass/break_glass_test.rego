package envoy.break_glass_test

import data.envoy.break_glass

on_call := "spiffe://prod.acme.test/on-call"

grant := {
	"spiffe_id": on_call,
	"reason": "INC-1",
	"from": "2026-12-01T10:00:00Z",
	"until": "2026-12-01T14:00:00Z",
	"methods": ["DELETE"],
	"paths": ["/queue/**"],
}

rule := {
	"from": [on_call],
	"to": ["spiffe://prod.acme.test/orders"],
	"methods": ["GET"],
	"paths": ["/queue/1"],
}

noon := time.parse_rfc3339_ns("2026-12-01T12:00:00Z")

check(method, path) := {
	"attributes": {"request": {"http": {"method": method, "path": path}}},
	"parsed_path": split(trim_left(path, "/"), "/"),
	"svidgate": {
		"peer": {"verified": true, "spiffe_id": on_call},
		"caller": {"kind": "attested", "spiffe_ids": ["spiffe://prod.acme.test/orders"]},
	},
}

decide(request, grants, now) := decision if {
	decision := break_glass.decision with input as request
		with data.break_glass.grants as grants
		with data.rules as [rule]
		with time.now_ns as now
}

delete_one := check("DELETE", "/queue/1")

test_the_table_allows_as_it_does_without if {
	decide(check("GET", "/queue/1"), [], noon) == {"allowed": true}
	decide(check("GET", "/queue/1"), [object.union(grant, {"methods": ["GET"]})], noon) == {"allowed": true}
}

test_a_grant_allows_and_says_so if {
	decision := decide(delete_one, [grant], noon)
	decision.allowed == true
	decision.headers == {"x-break-glass": "INC-1"}
	decision.dynamic_metadata == {"break_glass": {"spiffe_id": on_call, "reasons": ["INC-1"]}}
}

test_several_grants_are_all_named if {
	decision := decide(delete_one, [grant, object.union(grant, {"reason": "INC-0"})], noon)
	decision.headers["x-break-glass"] == "INC-0; INC-1"
}

test_it_begins_and_ends[time] if {
	some time, allowed in {
		"2026-12-01T09:59:59.999999999Z": false,
		"2026-12-01T10:00:00Z": true,
		"2026-12-01T13:59:59.999999999Z": true,
		"2026-12-01T14:00:00Z": false,
		"2026-12-02T12:00:00Z": false,
	}
	decide(delete_one, [grant], time_ns(time)).allowed == allowed
}

time_ns(text) := time.parse_rfc3339_ns(text)

test_denied[name] if {
	some name, changed in {
		"longer than a day": {"until": "2026-12-02T10:00:01Z"},
		"no beginning": {"from": ""},
		"no end": {"until": "never"},
		"no reason": {"reason": ""},
		"somebody else": {"spiffe_id": "spiffe://prod.acme.test/web"},
		"another method": {"methods": ["GET"]},
		"another path": {"paths": ["/orders"]},
	}
	decide(delete_one, [object.union(grant, changed)], noon) == {"allowed": false}
}

test_a_peer_that_was_not_verified_is_denied if {
	request := object.union(delete_one, {"svidgate": {"peer": {"verified": false}}})
	decide(request, [grant], noon) == {"allowed": false}
}

test_a_path_with_two_readings_is_denied if {
	decide(check("DELETE", "/queue/../orders"), [grant], noon) == {"allowed": false}
}
