package envoy.authz_test

import data.envoy.authz

token := {"verified": true, "provider": "jwt_svid", "spiffe_id": "spiffe://mesh.test/web"}

test_the_holder_of_the_token_is_let_in_by_name if {
	decision := authz.allow with input as {"svidgate": {"jwt": token}}
	decision == {"allowed": true, "response_headers_to_add": {"x-caller": "spiffe://mesh.test/web"}}
}

test_denied[name] if {
	some name, jwt in {
		"no token": {"verified": false, "reason": "absent"},
		"one that is not verified": object.union(token, {"verified": false}),
		"somebody else's": object.union(token, {"spiffe_id": "spiffe://mesh.test/other"}),
	}
	authz.allow == {"allowed": false} with input as {"svidgate": {"jwt": jwt}}
}

test_nothing_is_denied if authz.allow == {"allowed": false} with input as {}
