# In force: whoever is of the mesh does what they want.
package shop

default allow := false

allow if {
	input.svidgate.peer.verified == true
	startswith(input.svidgate.peer.spiffe_id, "spiffe://mesh.test/")
}
