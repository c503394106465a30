/** The policies of the hunt as Rego. What they say is read a second time, in TypeScript, in reading.ts. */

export interface HuntPolicy {
  readonly entrypoint: string;
  /** The texts of its files, in its versions; most have one. */
  readonly versions: readonly Readonly<Record<string, string>>[];
}

const table = (rows: string): string => `package envoy.authz

default allow := false

table := ${rows}

allow if {
	input.svidgate.peer.verified
	some rule in table[input.svidgate.peer.spiffe_id]
	input.attributes.request.http.method in rule.methods
	array.slice(input.parsed_path, 0, count(rule.prefix)) == rule.prefix
}

allow if {
	input.attributes.request.http.method == "GET"
	input.parsed_path == ["open"]
}
`;

const TABLES = [
  `{
	"spiffe://example.test/alice": [{"methods": ["GET", "POST"], "prefix": ["orders"]}],
	"spiffe://example.test/bob": [{"methods": ["GET"], "prefix": ["orders", "public"]}],
	"spiffe://partner.test/shop": [{"methods": ["GET"], "prefix": ["catalog"]}],
}`,
  `{
	"spiffe://example.test/alice": [{"methods": ["GET"], "prefix": ["bills"]}],
	"spiffe://example.test/carol": [{"methods": ["PUT"], "prefix": ["orders"]}],
}`,
] as const;

/** Denies are said one by one, and what is missing must not slip through between them. */
const DENY_LIST = (blocked: string): string => `package envoy.authz

default allow := false

allow if {
	input.attributes.request.http.method == "GET"
	not denied
}

denied if input.attributes.request.http.headers["x-block"]

denied if not input.attributes.request.http.headers["x-need"]

denied if startswith(input.attributes.request.http.path, "/admin")

denied if input.parsed_path[0] == "admin"

denied if not input.svidgate.peer.verified

denied if input.svidgate.peer.spiffe_id in ${blocked}

denied if {
	some value in input.attributes.request.http.headers
	contains(value, "evil")
}

denied if input.parsed_query.debug
`;

/** Operands that may be undefined beneath \`not\`. */
const NEGATION = `package hunt.negation

default allow := false

allow if {
	input.attributes.request.http.headers["x-way"] == "function"
	not startswith(input.attributes.request.http.path, "/private")
}

allow if {
	input.attributes.request.http.headers["x-way"] == "member"
	not input.svidgate.peer.spiffe_id in {"spiffe://example.test/mallory"}
}

allow if {
	input.attributes.request.http.headers["x-way"] == "equal"
	not input.svidgate.peer.spiffe_id == "spiffe://example.test/mallory"
}

allow if {
	input.attributes.request.http.headers["x-way"] == "every"
	every name, value in input.attributes.request.http.headers {
		name != "x-bad"
		value != "bad"
	}
}
`;

const BODY = `package hunt.body

default allow := false

allow if {
	input.attributes.request.http.method == "POST"
	not input.truncated_body
	input.parsed_body.amount <= 100
	input.parsed_body.currency == "EUR"
}

allow if {
	input.attributes.request.http.method == "POST"
	input.parsed_body.currency[_] == "FORM"
	count(input.parsed_body.currency) == 1
}
`;

const TOKENS = `package hunt.tokens

default allow := false

allow if {
	input.svidgate.jwt.verified
	input.svidgate.jwt.provider in {"issuer", "once"}
	input.svidgate.jwt.claims.role == "admin"
}

allow if {
	input.svidgate.jwt.verified
	input.svidgate.jwt.spiffe_id == "spiffe://example.test/alice"
	input.parsed_path == ["svid"]
}
`;

const OBJECT = `package hunt.object

role := input.attributes.request.http.headers["x-role"]

shape := input.attributes.request.http.headers["x-shape"]

decision := {"allowed": role == "admin", "headers": {"x-role": role}, "http_status": 401, "body": "no"} if shape == "full"

decision := {"allowed": "true"} if shape == "text"

decision := {"headers": {"x-role": "admin"}} if shape == "without"

decision := {"allowed": true, "headers": {":path": "/admin"}} if shape == "path"

decision := {"allowed": true, "headers": {"x-a": input.attributes.request.http.headers["x-a"]}} if shape == "echo"

decision := {"allowed": false, "http_status": 200} if shape == "success"

decision := {"allowed": true, "request_headers_to_remove": "x-role"} if shape == "wrong"

decision := {"allowed": true, "dynamic_metadata": {"decision_id": "mine"}} if shape == "metadata"

decision := [true] if shape == "array"

decision := 1 if shape == "number"

decision := "true" if shape == "string"

decision := null if shape == "null"
`;

/** Some requests make it fail: a conflict, an evaluation without an end, one that eats memory. */
const FAULTY = `package envoy.authz

allow := true if input.attributes.request.http.headers["x-open"] == "sesame"

allow := false if input.attributes.request.http.headers["x-shut"] == "yes"

allow if {
	input.parsed_path == ["spin"]
	xs := numbers.range(1, 9000)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 1
}

allow if {
	input.parsed_path == ["grow"]
	count([x | some a in numbers.range(1, 3000); x := numbers.range(a, 3000)]) == 0
}
`;

const HOPS = `package hunt.hops

default allow := false

allow if {
	input.svidgate.xfcc.verified
	input.svidgate.xfcc.spiffe_id == "spiffe://example.test/client"
}
`;

/** What a policy that was written for OPA's plugin reads: what Envoy says, verified by nobody. */
const PRINCIPAL = `package hunt.principal

default allow := false

allow if {
	input.source_principal == "spiffe://example.test/alice"
	input.attributes.source.principal == input.source_principal
	not input.attributes.request.http.headers["x-shut"]
}
`;

/** Which of many rules decides is said by `context_extensions`, too: each further policy would have to be compiled. */
const RULES = `package envoy.authz

rule := input.attributes.contextExtensions.rule

decision := data.hunt.negation.allow if rule == "negation"

decision := data.hunt.body.allow if rule == "body"

decision := data.hunt.tokens.allow if rule == "tokens"

decision := data.hunt.hops.allow if rule == "hops"

decision := data.hunt.principal.allow if rule == "principal"

decision := data.hunt.object.decision if rule == "object"
`;

export const RULE_NAMES = ['negation', 'body', 'tokens', 'hops', 'principal', 'object'] as const;
export type RuleName = (typeof RULE_NAMES)[number];

const files = (text: string): Readonly<Record<string, string>> => ({ 'policy.rego': text });

export const POLICIES = {
  default: { entrypoint: 'envoy/authz/allow', versions: TABLES.map((rows) => files(table(rows))) },
  denylist: {
    entrypoint: 'envoy/authz/allow',
    versions: [
      files(DENY_LIST('{"spiffe://example.test/mallory"}')),
      files(DENY_LIST('{"spiffe://example.test/mallory", "spiffe://example.test/bob"}')),
    ],
  },
  rules: {
    entrypoint: 'envoy/authz/decision',
    versions: [
      {
        'policy.rego': RULES,
        'negation.rego': NEGATION,
        'body.rego': BODY,
        'tokens.rego': TOKENS,
        'hops.rego': HOPS,
        'principal.rego': PRINCIPAL,
        'object.rego': OBJECT,
      },
    ],
  },
  faulty: { entrypoint: 'envoy/authz/allow', versions: [files(FAULTY)] },
  /** Never in force. */
  broken: { entrypoint: 'envoy/authz/allow', versions: [files('package envoy.authz\n\nallow if {')] },
} as const satisfies Readonly<Record<string, HuntPolicy>>;

export type PolicyName = keyof typeof POLICIES;

/** Policies with two versions, which are put in each other's place while requests fly. */
export const SWAPPED: readonly PolicyName[] = ['default', 'denylist'];
