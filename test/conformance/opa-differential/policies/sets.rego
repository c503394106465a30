# Sets, objects and what is made from them.
package sets

http := input.attributes.request.http

names := {name | some name, _ in http.headers}

custom := {name | some name in names; startswith(name, "x-")}

known := {"x-version", "x-tenant", "x-role", "accept"}

decision := {
	"allowed": count(custom - known) < 3,
	"headers": {"x-both": concat(",", custom & known), "x-all": concat(",", sort(names | known))},
	"dynamic_metadata": {
		"custom": custom,
		"intersection": intersection({names, known}),
		"union": union({custom, {"z", "a", "ä", "10", "9"}}),
		"by_length": {sprintf("%d", [count(name)]): list |
			some name in custom
			list := [other | some other in custom; count(other) == count(name)]
		},
		"keys": object.keys(http.headers),
	},
}
