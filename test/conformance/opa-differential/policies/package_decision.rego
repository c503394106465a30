# The package itself is the decision.
package package_decision

default allowed := false

allowed if input.attributes.request.http.method in ["GET", "HEAD"]

headers["x-method"] := input.attributes.request.http.method

headers["x-kind"] := "read" if allowed

http_status := 405 if not allowed

body := "not this way\n" if not allowed

dynamic_metadata := {"path": input.parsed_path}
