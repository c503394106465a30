# Paths by templates, patterns and segments.
package path_templates

http := input.attributes.request.http

path := split(http.path, "?")[0]

segments := split(trim(path, "/"), "/")

templates := {"/people/{id}": ["GET"], "/people/{id}/orders/{order}": ["GET", "POST"], "/health": ["GET"]}

matching contains template if {
	some template, methods in templates
	http.method in methods
	parts := split(trim(template, "/"), "/")
	count(parts) == count(segments)
	every index, part in parts {
		fits(part, segments[index])
	}
}

fits(part, segment) if part == segment

fits(part, segment) if {
	startswith(part, "{")
	regex.match(`^[A-Za-z0-9_.~-]+$`, segment)
}

patterns contains "glob" if glob.match("/files/**", ["/"], path)

patterns contains "glob one" if glob.match("/people/*", ["/"], path)

patterns contains "regex" if regex.match(`^/v[0-9]+/(?:people|orders)(?:/|$)`, path)

patterns contains "none of these" if not glob.match("/{people,orders,files}{,/**}", ["/"], path)

decision := {
	"allowed": count(matching) > 0,
	"dynamic_metadata": {
		"matching": sort([x | some x in matching]),
		"patterns": sort([x | some x in patterns]),
		"segments": segments,
		"parsed": input.parsed_path,
	},
}
