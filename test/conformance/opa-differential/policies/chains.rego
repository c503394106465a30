# else, with, functions and defaults of functions.
package chains

http := input.attributes.request.http

default level(_) := 0

level(role) := 3 if role == "admin"

level(role) := 2 if role in {"editor", "writer"}

level(role) := 1 if startswith(role, "guest")

needed := 3 if http.method == "DELETE"

else := 2 if http.method in {"POST", "PUT", "PATCH"}

else := 1 if http.method == "GET"

else := 0

decision := level(http.headers["x-role"]) >= needed if not http.headers["x-as"]

decision := object.union(as_other, {"allowed": as_other.allowed == true}) if {
	as_other := {"allowed": decision_for, "headers": {"x-as": http.headers["x-as"]}}
}

decision_for := level(http.headers["x-role"]) >= n if {
	n := needed with input.attributes.request.http.method as http.headers["x-as"]
}
