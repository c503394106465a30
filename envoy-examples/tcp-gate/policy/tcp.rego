# Who may connect to which service. A connection has no method and no path: there is no `input.attributes.request.http`.
package envoy.authz

default allow := false

allow if {
	not input.attributes.request.http
	input.svidgate.peer.verified == true
	some rule in data.rules
	input.svidgate.peer.spiffe_id in rule.from
	some service in input.svidgate.caller.spiffe_ids
	service in rule.to
}
