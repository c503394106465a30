package shop.clients_test

import data.shop.clients

web := "spiffe://mesh.test/web"

get(peer, xfcc) := {
	"attributes": {"request": {"http": {"method": "GET"}}},
	"svidgate": {"peer": {"verified": true, "spiffe_id": peer}, "xfcc": xfcc},
}

last_hop := "spiffe://mesh.test/inner"

allowed(request) if clients.allow with input as request with data.clients as [web]

test_a_client_by_way_of_inner if allowed(get(last_hop, {"verified": true, "spiffe_id": web}))

test_nobody_else if {
	not allowed(get(last_hop, {"verified": true, "spiffe_id": "spiffe://mesh.test/batch"}))
	not allowed(get(web, {"verified": true, "spiffe_id": web}))
	not allowed({})
}

test_one_good_element_is_not_enough if {
	elements := [{"verified": true, "spiffe_id": web}, {"verified": false, "reason": "writer_not_trusted"}]
	not allowed(get(last_hop, {"verified": false, "reason": "writer_not_trusted", "elements": elements}))
}
