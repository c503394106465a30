package gateway.login_test

import data.gateway.login

request(method, jwt) := {"attributes": {"request": {"http": {"method": method}}}, "svidgate": {"jwt": jwt}}

verified(role) := {"verified": true, "provider": "login", "claims": {"sub": "ann", "roles": [role]}}

test_a_reader_reads if {
	login.decision.headers == {"x-user": "ann"} with input as request("GET", verified("reader"))
	login.decision.http_status == 403 with input as request("DELETE", verified("reader"))
}

test_a_clerk_does_all if login.decision.allowed with input as request("DELETE", verified("clerk"))

test_nobody_else if {
	login.decision.http_status == 401 with input as request("GET", {"verified": false, "reason": "absent"})
	unverified := object.union(verified("clerk"), {"verified": false})
	login.decision.http_status == 401 with input as request("GET", unverified)
	other := object.union(verified("clerk"), {"provider": "github"})
	login.decision.http_status == 401 with input as request("GET", other)
	login.decision.http_status == 401 with input as {}
}
