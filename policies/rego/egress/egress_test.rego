package envoy.egress_test

import data.envoy.egress

orders := "spiffe://prod.acme.test/orders"

routes := [
	{"from": [orders], "hosts": ["api.partner.test"], "methods": ["GET"], "paths": ["/v1/**"], "audience": "partner"},
	{"from": [orders], "hosts": ["time.acme.test:8080"], "methods": ["GET"], "paths": ["/"]},
]

check(host, path) := {
	"attributes": {"request": {"http": {"method": "GET", "host": host, "path": path}}},
	"parsed_path": split(trim_left(path, "/"), "/"),
	"svidgate": {"caller": {"kind": "attested", "spiffe_ids": [orders]}},
}

decide(request) := decision if {
	decision := egress.decision with input as request with data.egress.routes as routes
}

test_a_row_with_an_audience_asks_for_a_token if {
	decide(check("api.partner.test", "/v1/items")) == {"allowed": true, "svidgate": {"jwt_svid": {"audience": "partner"}}}
	decide(check("API.Partner.test", "/v1")).allowed == true
}

test_a_row_without_one_asks_for_none if {
	decide(check("time.acme.test:8080", "/")) == {"allowed": true}
}

test_denied[name] if {
	some name, request in {
		"another host": check("evil.test", "/v1/items"),
		"another port": check("api.partner.test:8443", "/v1/items"),
		"another path": check("api.partner.test", "/v2"),
		"a path with two readings": check("api.partner.test", "/v1/../v2"),
		"another method": json.patch(check("api.partner.test", "/v1"), [{
			"op": "replace",
			"path": "/attributes/request/http/method",
			"value": "DELETE",
		}]),
		"another service": object.union(check("api.partner.test", "/v1"), {"svidgate": {"caller": {"spiffe_ids": ["x"]}}}),
		"nobody that was proven": object.union(check("api.partner.test", "/v1"), {"svidgate": {"caller": {"kind": "anonymous"}}}),
		"nothing": {},
	}
	decide(request) == {"allowed": false}
}

test_an_empty_audience_is_no_row if {
	route := object.union(routes[0], {"audience": ""})
	request := check("api.partner.test", "/v1")
	egress.decision == {"allowed": false} with input as request with data.egress.routes as [route]
}
