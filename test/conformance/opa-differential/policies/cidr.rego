# Address lists, with what a proxy says in x-forwarded-for.
package cidr

address := input.attributes.source.address.socketAddress.address

forwarded := [trim_space(one) | some one in split(input.attributes.request.http.headers["x-forwarded-for"], ",")]

denied := ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]

office := {"berlin": "203.0.113.0/24", "paris": "198.51.100.128/25"}

from contains name if {
	some name, range in office
	net.cidr_contains(range, address)
}

blocked contains one if {
	some one in array.concat([address], forwarded)
	some range in denied
	net.cidr_contains(range, one)
}

default decision := false

decision if {
	count(blocked) == 0
	count(from) > 0
}

decision if {
	count(from) == 0
	not blocked[address]
	every one in forwarded {
		net.cidr_contains("203.0.113.0/24", one)
	}
	count(forwarded) > 0
}
