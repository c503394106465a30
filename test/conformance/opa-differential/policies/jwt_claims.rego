# Reads the claims of a token that somebody else has verified.
package jwt_claims

http := input.attributes.request.http

decoded := io.jwt.decode(trim_prefix(http.headers.authorization, "Bearer "))

decision if {
	decoded[1].exp > input.attributes.request.time.seconds
	not expired
	glob.match("/*/:own", ["/"], http.path)
}

decision if decoded[1].sub == input.parsed_path[0]

decision := false if not decoded[1].sub

expired if decoded[1].exp * 1000000000 < time.now_ns() - (100 * 365 * 24 * 3600 * 1000000000)
