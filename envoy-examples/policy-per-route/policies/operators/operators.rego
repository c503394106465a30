# Those on the list do what they want.
package shop.operators

default allow := false

allow if {
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id in data.operators
}
