# Two rules that disagree for some requests, and objects with two values for a key.
package conflicts

http := input.attributes.request.http

decision if http.method == "GET"

decision := false if startswith(http.path, "/orders")

decision := {"allowed": by_role[http.headers["x-role"]]} if http.method == "POST"

by_role[role] := true if some role in ["admin", "guest"]

by_role[role] := false if {
	some role in ["guest", "nobody"]
	http.headers["x-strict"]
}
