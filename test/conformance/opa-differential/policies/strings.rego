# Texts with escapes and all planes of Unicode.
package strings_of_all_kinds

text := object.get(input.attributes.request.http.headers, "x-text", "")

query := object.get(input.parsed_query, "q", [""])[0]

both := concat("|", [text, query])

decision := {
	"allowed": indexof(both, "deny") < 0,
	"body": sprintf("%q %v %s %x", [text, [query], upper(both), text]),
	"dynamic_metadata": {
		"lower": lower(both),
		"upper": upper(both),
		"reverse": strings.reverse(both),
		"count": count(both),
		"part": substring(both, 1, 4),
		"index": indexof_n(both, "a"),
		"split": split(both, ""),
		"trimmed": trim_space(trim(both, "|a")),
		"replaced": replace(both, "a", "\u00e4\n\t\"\\"),
		"json": json.marshal([both, {"<&>": both}]),
		"base64": base64url.encode(both),
		"url": urlquery.encode(both),
		"hex": hex.encode(both),
		"sha": crypto.sha256(both),
		"template": strings.render_template("{{.a}}-{{.b}}", {"a": text, "b": query}),
		"starts": strings.any_prefix_match(both, ["a", "ä", "x"]),
		"words": regex.find_n(`\w+`, both, -1),
		"changed": regex.replace(both, `([a-z])(\d)`, "$2$1"),
		"parts": regex.split(`[,;|]`, both),
		"compare": [text < query, text == query, both > "m"],
	},
}
