package shop_test

import data.shop

web := "spiffe://mesh.test/web"

ops := "spiffe://mesh.test/ops"

request(method, id, path) := {
	"attributes": {"request": {"http": {"method": method}}},
	"parsed_path": path,
	"svidgate": {"peer": {"verified": true, "spiffe_id": id}},
}

test_readers_read_orders if {
	shop.allow with input as request("GET", web, ["orders", "7"])
	not shop.allow with input as request("GET", web, ["reports"])
	not shop.allow with input as request("GET", "spiffe://mesh.test/batch", ["orders"])
}

test_ops_gives_a_reason if {
	given := request("POST", ops, ["orders", "7"])
	shop.allow with input as object.union(given, {"parsed_body": {"reason": "refund"}})
	not shop.allow with input as object.union(given, {"parsed_body": {"reason": ""}})
	not shop.allow with input as given
	not shop.allow with input as object.union(request("POST", web, ["orders"]), {"parsed_body": {"reason": "refund"}})
}

test_nobody_unverified if {
	given := {"svidgate": {"peer": {"verified": false, "spiffe_id": web}}}
	not shop.allow with input as object.union(request("GET", web, ["orders"]), given)
}
