# Numbers from texts and bodies, large and small.
package numbers_of_all_kinds

given := input.parsed_body.numbers

first := given[0]

second := given[1]

size := units.parse_bytes(input.attributes.request.http.headers["x-size"])

default decision := false

decision := {
	"allowed": first <= second,
	"body": sprintf("%v %v %d %s", [first, second, round(first), format_int(second, 16)]),
	"headers": {
		"x-sum": sprintf("%v", [first + second]),
		"x-product": sprintf("%v", [first * second]),
		"x-difference": json.marshal(first - second),
		"x-sorted": json.marshal(sort(given)),
		"x-unique": json.marshal({number | some number in given}),
		"x-range": json.marshal(numbers.range(1, min([abs(round(first)), 9]))),
	},
	"dynamic_metadata": {"quotient": first / second, "floor": floor(first / second), "max": max(given), "equal": first == second},
}

decision := {"allowed": size < 1000000, "headers": {"x-bytes": sprintf("%v", [size])}} if not given
