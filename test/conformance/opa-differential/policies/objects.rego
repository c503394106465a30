# Documents put together and taken apart.
package objects

defaults := {"limits": {"rate": 10, "burst": 20}, "tags": ["a"], "owner": {"name": "nobody"}}

settings := object.union(defaults, input.parsed_body)

patched := json.patch(settings, [
	{"op": "add", "path": "/tags/-", "value": "b"},
	{"op": "replace", "path": "/limits/rate", "value": 1},
])

decision := {
	"allowed": settings.limits.rate <= 10,
	"dynamic_metadata": {
		"settings": settings,
		"patched": patched,
		"removed": json.remove(settings, ["limits/burst", "/owner"]),
		"filtered": json.filter(settings, ["limits/rate"]),
		"get": object.get(settings, ["owner", "name"], "?"),
		"subset": object.subset(settings, {"tags": ["a"]}),
		"keys": sort([key | some key in object.keys(settings)]),
		"all": object.union_n([{"a": 1}, settings, {"a": {"b": 2}}]),
	},
}
