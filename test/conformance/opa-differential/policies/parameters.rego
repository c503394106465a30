# Query parameters in and out.
package parameters

query := input.parsed_query

decision := {
	"allowed": count(object.get(query, "token", [])) == 1,
	"query_parameters_to_remove": [name | some name, _ in query; startswith(name, "debug")],
	"query_parameters_to_set": {"seen": sprintf("%d", [count(query)]), "q": concat(" ", object.get(query, "q", []))},
	"headers": {"x-query": urlquery.encode_object({name: values | some name, values in query; regex.match(`^[a-z]+$`, name)})},
	"dynamic_metadata": {"query": query},
	"http_status": 401,
}
