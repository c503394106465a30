# Tokens by a key set, with audience and issuer.
package jwt_keys

header := input.attributes.request.http.headers.authorization

token := trim_prefix(header, "Bearer ")

verified := io.jwt.decode_verify(token, {"cert": json.marshal(data.jwt_keys.jwks), "aud": "api", "time": 1700000000000000000})

decision := {
	"allowed": verified[0],
	"dynamic_metadata": {"claims": verified[2], "kid": object.get(verified[1], "kid", null)},
}
