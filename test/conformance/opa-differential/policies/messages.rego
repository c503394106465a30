# Collects why not, and says so.
package messages

http := input.attributes.request.http

deny contains "no user agent" if not http.headers["user-agent"]

deny contains sprintf("method %q is not for %s", [http.method, http.path]) if not http.method in {"GET", "HEAD", "POST"}

deny contains sprintf("%d segments", [count(input.parsed_path)]) if count(input.parsed_path) > 3

deny contains msg if {
	some name, value in http.headers
	startswith(name, "x-")
	contains(value, "<")
	msg := sprintf("header %v: %v", [name, json.marshal(value)])
}

decision := {
	"allowed": count(deny) == 0,
	"body": concat("\n", deny),
	"headers": {"x-reasons": format_int(count(deny), 10)},
	"dynamic_metadata": {"set": deny},
}
