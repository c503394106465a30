# Who is at the other end, as Envoy says.
package principals

peer := input.attributes.source.principal

parts := regex.find_all_string_submatch_n(`^spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)$`, peer, 1)[0]

decision := {
	"allowed": parts[2] == "shop",
	"headers": {"x-peer": peer, "x-same": sprintf("%v", [peer == input.source_principal])},
	"dynamic_metadata": {"parts": parts, "uri": uri.parse(peer)},
} if parts

else := {"allowed": false, "http_status": 401, "body": "who are you?"} if not peer

else := glob.match("spiffe://*.example.test/**", ["/", "."], peer)
