# METADATA
# title: Calls that leave
# description: |
#   The Envoy of a service asks before a request leaves it. Allows it when a row of data.egress.routes names the service, the host,
#   the method and the path; where the row names an audience, svidgate puts a JWT-SVID of the service into the request.
package envoy.egress

import data.svidgate.paths

# METADATA
# entrypoint: true
default decision := {"allowed": false}

# Two rows that ask for different audiences are a conflict, which is a deny: nobody guesses who is meant.
decision := object.union({"allowed": true}, token) if {
	paths.is_plain
	some route in data.egress.routes
	some service in services
	service in route.from
	lower(request.host) in route.hosts
	request.method in route.methods
	some pattern in route.paths
	paths.matches(pattern)
	token := token_for(route)
}

request := input.attributes.request.http

# Whose Envoy asks, defined only when the kernel or a certificate proved it.
services := input.svidgate.caller.spiffe_ids if input.svidgate.caller.kind in {"attested", "tls"}

# An empty text is a mistake, and no request leaves by it.
token_for(route) := {"svidgate": {"jwt_svid": {"audience": route.audience}}} if route.audience != ""

token_for(route) := {} if not "audience" in object.keys(route)
