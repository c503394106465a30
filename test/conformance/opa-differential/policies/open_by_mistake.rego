# Allows what no rule denies: an error in a rule is no deny.
package open_by_mistake

default decision := true

decision := false if input.attributes.request.http.headers["x-blocked"] == "yes"

decision := false if to_number(input.attributes.request.http.headers["x-version"]) > 2

decision := false if input.parsed_body.blocked

decision := false if not startswith(input.attributes.request.http.headers["x-tenant"], "t-")

decision := false if input.parsed_query.debug[_] == "1"
