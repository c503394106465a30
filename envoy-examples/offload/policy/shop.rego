# Web reads orders, and ops changes them for a reason that the body has.
package shop

default allow := false

allow if {
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id in data.readers
	input.attributes.request.http.method == "GET"
	input.parsed_path[0] == "orders"
}

allow if {
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id == "spiffe://mesh.test/ops"
	input.attributes.request.http.method == "POST"
	input.parsed_body.reason != ""
}
