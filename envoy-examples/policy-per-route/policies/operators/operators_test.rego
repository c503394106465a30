package shop.operators_test

import data.shop.operators

peer(verified, id) := {"svidgate": {"peer": {"verified": verified, "spiffe_id": id}}}

operator := "spiffe://mesh.test/operator"

test_an_operator_may if operators.allow with input as peer(true, operator) with data.operators as [operator]

test_others_may_not if {
	not operators.allow with input as peer(true, "spiffe://mesh.test/web") with data.operators as [operator]
	not operators.allow with input as peer(false, operator) with data.operators as [operator]
	not operators.allow with input as {} with data.operators as [operator]
}
