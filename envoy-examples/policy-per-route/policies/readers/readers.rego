# Everybody of the mesh reads.
package shop.readers

default allow := false

allow if {
	input.svidgate.peer.verified == true
	startswith(input.svidgate.peer.spiffe_id, "spiffe://mesh.test/")
	input.attributes.request.http.method == "GET"
}
