package envoy.default_deny_test

import data.envoy.default_deny

test_nothing_is_allowed[name] if {
	some name, request in {
		"nothing": {},
		"a verified peer": {"svidgate": {"peer": {"verified": true, "spiffe_id": "spiffe://prod.acme.test/web"}}},
		"one that says so": {"allow": true, "svidgate": {"allow": true}},
	}
	default_deny.allow == false with input as request
}
