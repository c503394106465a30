package gateway.login

# A token is enough to know who asks, and no more: 401 without one, 403 with one that does not allow it.
default decision := {"allowed": false, "http_status": 401, "headers": {"www-authenticate": "Bearer"}}

decision := {
	"allowed": true,
	"headers": {"x-user": token.claims.sub},
	# The service has no use for it, and cannot lose what it never had.
	"request_headers_to_remove": ["authorization"],
} if {
	allow
} else := {"allowed": false, "http_status": 403} if {
	token
}

default allow := false

allow if {
	input.attributes.request.http.method == "GET"
	"reader" in token.claims.roles
}

allow if "clerk" in token.claims.roles

# Defined only when svidgate checked the one token of the request.
token := input.svidgate.jwt if {
	input.svidgate.jwt.verified == true
	input.svidgate.jwt.provider == "login"
}
