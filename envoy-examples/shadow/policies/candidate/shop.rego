# Those on the list read, and nobody writes.
package shop

default allow := false

allow if {
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id in data.readers
	input.attributes.request.http.method == "GET"
}
