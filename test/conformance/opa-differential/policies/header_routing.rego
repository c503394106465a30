# Sends a request elsewhere by headers, and cleans it up.
package header_routing

http := input.attributes.request.http

version := object.get(http.headers, "x-version", "1")

canary if to_number(version) >= 2

canary if http.headers["x-canary"]

decision := {
	"allowed": true,
	"headers": {"x-route": route, "X-Version": version, "x-forwarded-path": http.path},
	"request_headers_to_remove": ["X-Secret", "x-debug"],
	"response_headers_to_add": {"x-served-by": route, "vary": ["x-version", "x-canary"]},
}

route := "canary" if canary

else := "stable"
