# METADATA
# title: A gateway with tokens
# description: |
#   Allows a request when a row of data.ingress.routes names its method and path, and its one token was verified, comes from the
#   row's provider and has the claims that the row asks for. The service behind the gateway learns the subject in a header that
#   takes the place of what the client sent.
package envoy.ingress

import data.svidgate.paths

# METADATA
# entrypoint: true
default decision := {"allowed": false, "http_status": 403}

decision := {
	"allowed": true,
	"headers": {"x-authenticated-subject": jwt.claims.sub},
	"request_headers_to_remove": ["authorization"],
} if {
	is_granted
}

# Without a token that could be right: the client may try again with one.
decision := {
	"allowed": false,
	"http_status": 401,
	"headers": {"www-authenticate": "Bearer"},
} if {
	not is_granted
	input.svidgate.jwt.verified == false
}

is_granted if {
	paths.is_plain
	some route in data.ingress.routes
	request.method in route.methods
	some pattern in route.paths
	paths.matches(pattern)
	jwt.provider == route.provider
	jwt.claims.sub != ""
	every name, wanted in route.claims {
		claim_is_one_of(jwt.claims[name], wanted)
	}
}

request := input.attributes.request.http

# Defined only when there is exactly one token, and svidgate verified it.
jwt := input.svidgate.jwt if input.svidgate.jwt.verified == true

claim_is_one_of(claim, wanted) if claim in wanted

# A claim with several values, such as groups: one of them is enough.
claim_is_one_of(claim, wanted) if {
	is_array(claim)
	some value in claim
	value in wanted
}
