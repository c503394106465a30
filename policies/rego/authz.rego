# METADATA
# title: Default deny between services
# description: |
#   Allows a request when one row of data.rules names the verified peer it comes from, the service whose Envoy asks,
#   the method and the path. Everything else is denied, also what is missing or odd.
package envoy.authz

import data.svidgate.paths

# METADATA
# entrypoint: true
default allow := false

allow if {
	paths.is_plain
	some rule in data.rules
	peer in rule.from
	some service in callers
	service in rule.to
	request.method in rule.methods
	some pattern in rule.paths
	paths.matches(pattern)
}

request := input.attributes.request.http

# The SPIFFE ID of the peer, defined only when svidgate checked its certificate against the live bundles.
peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true

# The SPIFFE IDs of the service whose Envoy asks, defined only when the kernel or a certificate proved who that is.
callers := input.svidgate.caller.spiffe_ids if input.svidgate.caller.kind in {"attested", "tls"}
