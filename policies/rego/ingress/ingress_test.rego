package envoy.ingress_test

import data.envoy.ingress

routes := [
	{"methods": ["POST"], "paths": ["/release"], "provider": "github", "claims": {"ref": ["refs/heads/main"]}},
	{"methods": ["GET"], "paths": ["/reports/**"], "provider": "access", "claims": {"groups": ["finance", "audit"]}},
	{"methods": ["GET"], "paths": ["/me"], "provider": "access", "claims": {}},
]

check(method, path, jwt) := {
	"attributes": {"request": {"http": {"method": method, "path": path}}},
	"parsed_path": split(trim_left(split(path, "?")[0], "/"), "/"),
	"svidgate": {"jwt": jwt},
}

token(provider, claims) := {"verified": true, "provider": provider, "claims": object.union({"sub": "somebody"}, claims)}

release := token("github", {"ref": "refs/heads/main"})

decide(request) := decision if {
	decision := ingress.decision with input as request with data.ingress.routes as routes
}

test_allowed[name] if {
	some name, request in {
		"a claim": check("POST", "/release", release),
		"a claim with several values": check("GET", "/reports/2026?q=1", token("access", {"groups": ["staff", "audit"]})),
		"a row without claims": check("GET", "/me", token("access", {})),
	}
	decision := decide(request)
	decision.allowed == true
	decision.headers == {"x-authenticated-subject": "somebody"}
	decision.request_headers_to_remove == ["authorization"]
}

test_denied_with_403[name] if {
	some name, request in {
		"another method": check("GET", "/release", release),
		"another path": check("POST", "/release/now", release),
		"a path with two readings": check("GET", "/reports/%2e%2e/me", token("access", {"groups": ["audit"]})),
		"another provider": check("POST", "/release", token("access", {"ref": "refs/heads/main"})),
		"another value": check("POST", "/release", token("github", {"ref": "refs/heads/test"})),
		"none of the values": check("GET", "/reports/1", token("access", {"groups": ["staff"]})),
		"a part of the value": check("GET", "/reports/1", token("access", {"groups": "finance,audit"})),
		"no such claim": check("POST", "/release", token("github", {})),
		"nobody": check("POST", "/release", object.union(release, {"claims": {"sub": ""}})),
		"no token at all, not even that there is none": check("POST", "/release", {}),
		"verified by the text": check("POST", "/release", object.union(release, {"verified": "true"})),
	}
	decide(request) == {"allowed": false, "http_status": 403}
}

test_denied_with_401[name] if {
	some name, jwt in {
		"no token": {"verified": false, "reason": "absent"},
		"expired": {"verified": false, "reason": "expired", "provider": "github"},
		"several": {"verified": false, "reason": "several_tokens", "tokens": [release, release]},
		"claims all the same": object.union(release, {"verified": false}),
	}
	decision := decide(check("POST", "/release", jwt))
	decision.allowed == false
	decision.http_status == 401
	decision.headers["www-authenticate"] == "Bearer"
}

test_without_routes_all_is_denied[name] if {
	some name, none in {"empty": [], "null": null, "an object": {}}
	ingress.decision.allowed == false with input as check("GET", "/me", token("access", {})) with data.ingress.routes as none
}

test_a_route_that_lacks_a_part_allows_nothing[part] if {
	some part in ["methods", "paths", "provider", "claims"]
	route := json.remove(routes[0], [part])
	request := check("POST", "/release", release)
	ingress.decision.allowed == false with input as request with data.ingress.routes as [route]
}
