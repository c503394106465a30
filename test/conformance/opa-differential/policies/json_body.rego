# Fields of a JSON body, with numbers that no double holds.
package json_body

body := input.parsed_body

decision := {"allowed": false, "http_status": 413, "body": "too long"} if input.truncated_body

decision := {"allowed": false, "http_status": 400, "body": "no object"} if {
	not input.truncated_body
	not is_object(body)
}

decision := {
	"allowed": count(problems) == 0,
	"body": concat("; ", sort([text | some text in problems])),
	"headers": {"x-account": sprintf("%v", [body.account]), "x-amount": format_int(body.amount * 100, 10)},
} if {
	not input.truncated_body
	is_object(body)
}

problems contains "amount too large" if body.amount > 1000

problems contains sprintf("account %v is closed", [body.account]) if body.account == 12345678901234567890

problems contains "no currency" if not body.currency

problems contains sprintf("item %d has no price", [index]) if {
	some index, item in body.items
	not item.price
}

problems contains "total" if sum([item.price | some item in body.items]) != body.total
