package shop_test

import data.shop

peer(verified, id) := {"svidgate": {"peer": {"verified": verified, "spiffe_id": id}}}

test_the_mesh if shop.allow with input as peer(true, "spiffe://mesh.test/web")

test_nobody_else if {
	not shop.allow with input as peer(true, "spiffe://mesh.test.evil/web")
	not shop.allow with input as peer(false, "spiffe://mesh.test/web")
}
