package tickets.authz_test

import data.tickets.authz

get := {"attributes": {"request": {"http": {"method": "GET", "path": "/tickets/7"}}}}

post := {
	"attributes": {"request": {"http": {"method": "POST", "path": "/tickets"}}},
	"parsed_path": ["tickets"],
	"parsed_body": {"subject": "printer"},
	"truncated_body": false,
}

reader := {"sub": "ann", "roles": ["reader"]}

clerk := {"sub": "bob", "roles": ["clerk"]}

test_a_reader_reads if {
	authz.decision.allowed with input as get with authz.claims as reader
	authz.decision.headers == {"x-user": "ann"} with input as get with authz.claims as reader
}

test_a_clerk_writes if authz.decision.allowed with input as post with authz.claims as clerk

test_each_has_one_role if {
	authz.decision.http_status == 403 with input as get with authz.claims as clerk
	authz.decision.http_status == 403 with input as post with authz.claims as reader
}

test_a_ticket_has_a_subject if {
	empty := object.union(post, {"parsed_body": {"subject": ""}})
	not authz.decision.allowed with input as empty with authz.claims as clerk
	cut := object.union(post, {"truncated_body": true})
	not authz.decision.allowed with input as cut with authz.claims as clerk
}

test_nobody_is_asked_to_log_in if authz.decision.http_status == 401 with input as get
