# No default: there is not always a decision.
package sometimes

decision if input.attributes.request.http.method == "GET"

decision := {"allowed": input.parsed_body.allowed} if input.attributes.request.http.method == "POST"

decision := 7 if input.attributes.request.http.method == "PUT"

decision := ["allowed"] if input.attributes.request.http.method == "DELETE"

decision := null if input.attributes.request.http.method == "PATCH"
