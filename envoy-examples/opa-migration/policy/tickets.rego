package tickets.authz

request := input.attributes.request.http

# What the token says, defined only when the issuer signed it for us.
claims := payload if {
	[scheme, token] := split(request.headers.authorization, " ")
	lower(scheme) == "bearer"
	expected := {"cert": data.issuer.key, "alg": "ES256", "iss": "https://login.acme.test", "aud": "tickets"}
	[verified, _, payload] := io.jwt.decode_verify(token, expected)
	verified == true
}

default allow := false

allow if {
	request.method == "GET"
	glob.match("/tickets/*", ["/"], request.path)
	"reader" in claims.roles
}

# A ticket has a subject.
allow if {
	request.method == "POST"
	input.parsed_path == ["tickets"]
	"clerk" in claims.roles
	input.truncated_body == false
	count(input.parsed_body.subject) > 0
}

decision := {
	"allowed": true,
	"headers": {"x-user": claims.sub},
	"request_headers_to_remove": ["authorization"],
} if {
	allow
} else := {"allowed": false, "http_status": 403} if {
	claims
} else := {"allowed": false, "http_status": 401, "headers": {"www-authenticate": "Bearer"}}
