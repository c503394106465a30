# METADATA
# title: Break glass
# description: |
#   What the service table allows, and in an emergency what a row of data.break_glass.grants allows: for one identity, with a
#   reason, for at most a day. Each request that only such a row lets through says so in its metadata, for the access log, and to
#   the service.
package envoy.break_glass

import data.envoy.authz
import data.svidgate.paths

# METADATA
# entrypoint: true
default decision := {"allowed": false}

decision := {"allowed": true} if authz.allow

decision := {
	"allowed": true,
	"headers": {"x-break-glass": concat("; ", reasons)},
	"dynamic_metadata": {"break_glass": {"spiffe_id": peer, "reasons": sort(reasons)}},
} if {
	not authz.allow
	count(reasons) > 0
}

# Of all grants that allow the request, in the order of their texts.
reasons contains grant.reason if {
	paths.is_plain
	some grant in data.break_glass.grants
	is_open(grant)
	grant.spiffe_id == peer
	grant.reason != ""
	request.method in grant.methods
	some pattern in grant.paths
	paths.matches(pattern)
}

# A grant that says no times, or is longer than a day, is none.
is_open(grant) if {
	from := time.parse_rfc3339_ns(grant.from)
	until := time.parse_rfc3339_ns(grant.until)
	until - from <= 24 * hour_ns
	now := time.now_ns()
	from <= now
	now < until
}

hour_ns := 3600000000000

request := input.attributes.request.http

peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true
