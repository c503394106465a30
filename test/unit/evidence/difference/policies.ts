/** Policies of the usual kinds, in which differences are planted. */
export interface PlantedPolicy {
  readonly entrypoint: string;
  readonly rego: string;
  readonly data: object;
}

const TABLE: PlantedPolicy = {
  entrypoint: 'envoy/authz/allow',
  data: {
    rows: [
      { from: ['spiffe://acme.test/web', 'spiffe://acme.test/app'], methods: ['GET', 'HEAD'], prefix: '/orders' },
      { from: ['spiffe://acme.test/billing'], methods: ['GET', 'POST'], prefix: '/invoices' },
      { from: ['spiffe://acme.test/jobs'], methods: ['DELETE'], prefix: '/orders/expired' },
    ],
    admins: ['spiffe://acme.test/operator'],
  },
  rego: `package envoy.authz

default allow := false

http := input.attributes.request.http

caller := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true

allow if {
	some row in data.rows
	caller in row.from
	http.method in row.methods
	startswith(http.path, row.prefix)
}

allow if {
	caller in data.admins
	http.method != "DELETE"
}

allow if {
	http.method == "GET"
	http.path == "/health"
}
`,
};

const DENY_LIST: PlantedPolicy = {
  entrypoint: 'envoy/authz/allow',
  data: { blocked: ['spiffe://acme.test/mallory', 'spiffe://acme.test/eve'] },
  rego: `package envoy.authz

default allow := false

allow if {
	input.attributes.request.http.method in {"GET", "POST"}
	not denied
}

denied if startswith(input.attributes.request.http.path, "/admin")

denied if input.attributes.request.http.headers["x-block"] == "yes"

denied if not input.svidgate.peer.verified

denied if input.svidgate.peer.spiffe_id in data.blocked

denied if {
	input.attributes.request.http.method == "POST"
	input.parsed_query.dry[0] == "run"
}
`,
};

const SEGMENTS: PlantedPolicy = {
  entrypoint: 'shop/authz/decision',
  data: {},
  rego: `package shop.authz

http := input.attributes.request.http

default decision := {"allowed": false, "http_status": 404}

decision := {"allowed": true, "headers": {"x-tier": tier}} if {
	input.parsed_path[0] == "shops"
	count(input.parsed_path) == 3
	input.parsed_path[2] in {"orders", "items"}
	http.method == "GET"
}

decision := {"allowed": false, "http_status": 401, "body": "who are you?"} if {
	input.parsed_path[0] == "accounts"
	not input.svidgate.peer.verified
}

tier := "gold" if http.headers["x-tier"] == "gold"

else := "silver" if to_number(http.headers["x-level"]) >= 5

else := "iron"
`,
};

const PATTERNS: PlantedPolicy = {
  entrypoint: 'api/allow',
  data: {},
  rego: `package api

default allow := false

path := split(input.attributes.request.http.path, "?")[0]

allow if {
	regex.match("^/v[12]/(people|orders)/[0-9]+$", path)
	input.attributes.request.http.method == "GET"
}

allow if {
	glob.match("/files/*/public", ["/"], path)
	endswith(input.attributes.request.http.host, ".acme.test")
}

allow if {
	is_internal(input.svidgate.peer.spiffe_id)
	contains(path, "/internal/")
	lower(input.attributes.request.http.headers["x-role"]) == "operator"
}

is_internal(id) if startswith(id, "spiffe://acme.test/ns/core/")

is_internal(id) if id == "spiffe://acme.test/ns/edge/sa/proxy"
`,
};

const BODIES: PlantedPolicy = {
  entrypoint: 'pay/allow',
  data: { limits: { small: 100, large: 5000 } },
  rego: `package pay

default allow := false

allow if {
	input.attributes.request.http.method == "POST"
	input.truncated_body == false
	input.parsed_body.amount <= data.limits.small
	input.parsed_body.currency == "EUR"
}

allow if {
	input.parsed_body.amount < data.limits.large
	input.parsed_body.amount > 0
	input.svidgate.jwt.verified == true
	"payments" in input.svidgate.jwt.claims.groups
	input.svidgate.jwt.claims.level >= 3
}

allow if {
	[kind, number] := split(input.attributes.request.http.headers["x-ticket"], "-")
	kind == "OPS"
	count(number) == 4
}
`,
};

export const POLICIES: readonly PlantedPolicy[] = [TABLE, DENY_LIST, SEGMENTS, PATTERNS, BODIES];
