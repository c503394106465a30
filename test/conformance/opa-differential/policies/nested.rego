# Walks bodies and graphs.
package nested

edges := {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": ["a"], "e": []}

leaves := [[concat("/", [sprintf("%v", [part]) | some part in path]), value] |
	[path, value] := walk(input.parsed_body)
	not is_object(value)
	not is_array(value)
]

bad if {
	some leaf in leaves
	leaf[1] == "bad"
}

deepest := max([count(path) | [path, _] := walk(input.parsed_body)])

decision := {
	"allowed": allowed,
	"dynamic_metadata": {
		"leaves": sort(leaves),
		"deepest": deepest,
		"reach": sort([node | some node in graph.reachable(edges, {input.parsed_path[0]})]),
		"paths": count(graph.reachable_paths(edges, {"a"})),
	},
}

default allowed := true

allowed := false if bad

allowed := false if deepest > 6
