# some, every, not and comprehensions over what may be missing.
package quantifiers

http := input.attributes.request.http

default decision := false

decision if {
	every name, value in http.headers {
		not contains(value, "\u0000")
		count(name) < 30
	}
	some segment in input.parsed_path
	segment in {"people", "orders"}
	not blocked
}

blocked if {
	some i
	input.parsed_path[i] == input.parsed_path[i + 1]
}

blocked if {
	some name
	http.headers[name] == ""
}

blocked if not http.headers["x-role"] == "admin"

blocked if not count(input.parsed_query.page) > 2
