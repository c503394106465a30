package shop_test

import data.shop

web := "spiffe://mesh.test/web"

request(method, verified, id) := {
	"attributes": {"request": {"http": {"method": method}}},
	"svidgate": {"peer": {"verified": verified, "spiffe_id": id}},
}

allowed(given) if shop.allow with input as given with data.readers as [web]

test_readers_read if allowed(request("GET", true, web))

test_nobody_else_and_nothing_else if {
	not allowed(request("POST", true, web))
	not allowed(request("GET", false, web))
	not allowed(request("GET", true, "spiffe://mesh.test/batch"))
}
