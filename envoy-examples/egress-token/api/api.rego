# Who may call: the holder of a JWT-SVID for this API. Its name goes to the client, to be seen on the page.
package envoy.authz

default allow := {"allowed": false}

allow := {"allowed": true, "response_headers_to_add": {"x-caller": jwt.spiffe_id}} if {
	jwt.verified == true
	jwt.spiffe_id == "spiffe://mesh.test/web"
}

jwt := input.svidgate.jwt
