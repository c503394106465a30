# A token with a shared secret; who may write stands in its claims.
package jwt_secret

http := input.attributes.request.http

token := substring(http.headers.authorization, 7, -1) if startswith(http.headers.authorization, "Bearer ")

claims := payload if {
	[true, _, payload] = io.jwt.decode_verify(token, {"secret": "a secret of some length, for tests", "iss": "issuer.test", "time": 1700000000000000000})
}

default decision := {"allowed": false, "http_status": 401, "headers": {"www-authenticate": "Bearer"}}

decision := {"allowed": true, "headers": {"x-user": claims.sub}} if {
	claims.scope == "read"
	http.method in {"GET", "HEAD"}
}

else := {"allowed": true, "headers": {"x-user": claims.sub, "x-may": "write"}} if {
	"write" in split(claims.scope, " ")
}

else := {"allowed": false, "http_status": 403, "body": sprintf("%s may not", [claims.sub])} if claims
