package shop.readers_test

import data.shop.readers

request(method, peer) := {"attributes": {"request": {"http": {"method": method}}}, "svidgate": {"peer": peer}}

web := {"verified": true, "spiffe_id": "spiffe://mesh.test/web"}

test_the_mesh_reads if readers.allow with input as request("GET", web)

test_nobody_writes if not readers.allow with input as request("POST", web)

test_others_do_not_read if {
	not readers.allow with input as request("GET", {"verified": true, "spiffe_id": "spiffe://partner.test/web"})
	not readers.allow with input as request("GET", {"verified": true, "spiffe_id": "spiffe://mesh.test.evil/web"})
	not readers.allow with input as request("GET", {"verified": false, "reason": "expired"})
}
