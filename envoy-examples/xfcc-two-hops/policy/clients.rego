package shop.clients

default allow := false

# By way of inner alone, for the clients that are listed.
allow if {
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id == "spiffe://mesh.test/inner"
	input.svidgate.xfcc.verified == true
	input.svidgate.xfcc.spiffe_id in data.clients
	input.attributes.request.http.method == "GET"
}
