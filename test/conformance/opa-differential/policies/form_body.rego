# Forms and parts.
package form_body

fields := input.parsed_body

decision if {
	fields.user == ["alice"]
	"orders" in fields.scope
}

decision := {"allowed": true, "dynamic_metadata": {"fields": fields, "type": type_name(fields)}} if {
	is_object(fields)
	not fields.user
}

decision := {"allowed": false, "dynamic_metadata": {"truncated": input.truncated_body}} if fields == null
