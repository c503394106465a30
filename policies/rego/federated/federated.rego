# METADATA
# title: Peers of other trust domains
# description: |
#   Allows a peer of a federated trust domain when a row of data.federated.peers has its exact SPIFFE ID, the method and the path.
#   Their domain says who has which ID, so a whole domain, or all beneath a path, is never trusted here.
package envoy.federated

import data.svidgate.paths

# METADATA
# entrypoint: true
default allow := false

allow if {
	paths.is_plain
	some row in data.federated.peers
	row.spiffe_id == peer
	request.method in row.methods
	some pattern in row.paths
	paths.matches(pattern)
}

request := input.attributes.request.http

# Defined only when svidgate checked the certificate against the bundle of the peer's own trust domain.
peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true
