# Roles by a table, the user from Basic credentials.
package rbac

http := input.attributes.request.http

roles := {"alice": ["guest", "admin"], "bob": ["guest"], "eve": [], "zoë": ["admin"]}

grants := {
	"guest": [{"method": "GET", "path": "/people"}, {"method": "HEAD", "path": "/people"}],
	"admin": [{"method": "GET", "path": "/people"}, {"method": "POST", "path": "/people"}, {"method": "DELETE", "path": "/people/7"}],
}

user := name if {
	[_, encoded] := split(http.headers.authorization, " ")
	[name, _] := split(base64.decode(encoded), ":")
}

default decision := false

decision if {
	some role in roles[user]
	some grant in grants[role]
	grant.method == http.method
	grant.path == http.path
}
