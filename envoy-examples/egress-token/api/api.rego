# Who may call: the holder of a JWT-SVID for this API. Its name goes to the client, to be seen on the page.
package envoy.authz

default allow := {"allowed": false}

allow := {"allowed": true, "response_headers_to_add": {"x-caller": jwt.spiffe_id}} if {
	jwt.spiffe_id == "spiffe://mesh.test/web"
}

# Defined only when there is exactly one token, and svidgate verified it.
jwt := input.svidgate.jwt if input.svidgate.jwt.verified == true
