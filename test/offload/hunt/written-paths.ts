/** Policies about methods and paths, hostile to whoever translates them: encoded, repeated, or read as something else. */
import type { WrittenPolicy } from './policy.ts';

const alice = { certificate: 'alice' };
export const WRITTEN_PATHS: readonly WrittenPolicy[] = [
  {
    name: 'whole_path',
    rules: `allow if {
	http.method == "GET"
	http.path == "/open"
}

allow if http.path == "/open?id=7"`,
    aims: [{ path: '/open' }, { path: '/open?id=7' }],
  },
  {
    name: 'parsed',
    rules: 'allow if input.parsed_path == ["open"]',
    aims: [{ path: '/open' }, { path: '//op%65n?x=1' }],
  },
  {
    name: 'parsed_parts',
    rules: `allow if {
	input.parsed_path[0] == "orders"
	input.parsed_path[1] in {"7", "a b", "é"}
}

allow if {
	count(input.parsed_path) == 3
	input.parsed_path[2] == ""
}`,
    aims: [{ path: '/orders/7' }, { path: '/orders/a%20b/x' }, { path: '/orders/%c3%a9' }, { path: '/a/b/' }],
  },
  {
    name: 'parsed_not',
    rules: `allow if {
	not input.parsed_path[0] == "admin"
	http.method == "GET"
}

allow if {
	input.parsed_path[0] != "admin"
	input.parsed_path[1] != "secret"
}`,
    aims: [{ path: '/x/y' }, { path: '/admin/x', method: 'POST' }, { path: '/x' }],
  },
  {
    name: 'slices',
    rules: `prefix := ["orders", "public"]

allow if array.slice(input.parsed_path, 0, count(prefix)) == prefix

allow if array.slice(input.parsed_path, 1, 2) == ["v1"]`,
    aims: [{ path: '/orders/public/1' }, { path: '/x/v1/y' }],
  },
  {
    name: 'prefixes',
    rules: `allow if startswith(http.path, "/public/")

allow if startswith(input.attributes.request.http.headers[":path"], "/p2")`,
    aims: [{ path: '/public/x' }, { path: '/p2?x' }],
  },
  {
    name: 'suffixes',
    rules: `allow if endswith(http.path, ".json")

allow if endswith(split(http.path, "?")[0], ".css")`,
    aims: [{ path: '/x.json' }, { path: '/x?a=.json' }, { path: '/x.css?y' }],
  },
  {
    name: 'contained',
    rules: `allow if contains(http.path, "/v1/")

allow if {
	not contains(http.path, "..")
	not contains(http.path, "%")
	not contains(http.path, "//")
	startswith(http.path, "/safe")
}`,
    aims: [{ path: '/a/v1/b' }, { path: '/safe/x' }],
  },
  {
    name: 'before_query',
    rules: 'allow if split(http.path, "?")[0] == "/orders"',
    aims: [{ path: '/orders?x=1' }, { path: '/orders' }],
  },
  {
    name: 'split_parts',
    rules: `parts := split(trim_prefix(split(http.path, "?")[0], "/"), "/")

allow if {
	parts[0] == "orders"
	not parts[1] == "secret"
}

allow if parts[count(parts) - 1] == "last"`,
    aims: [{ path: '/orders/7' }, { path: '/a/b/last' }],
  },
  {
    name: 'not_method',
    rules: `allow if {
	not http.method == "DELETE"
	not http.method in {"PUT", "PATCH"}
	startswith(http.path, "/m")
}

allow if lower(http.method) == "get"`,
    aims: [{ path: '/m', method: 'POST' }, { path: '/x' }, { path: '/', method: 'Get' }],
  },
  {
    name: 'not_prefix',
    rules: 'allow if not startswith(http.path, "/admin")',
    aims: [{ path: '/x' }, { path: '/Admin' }, { path: '/%61dmin' }],
  },
  {
    name: 'queries',
    rules: `allow if {
	input.parsed_query.id[0] == "7"
	http.method == "GET"
}

allow if {
	not input.parsed_query.debug
	http.method == "POST"
}

allow if {
	count(input.parsed_query) == 0
	http.method == "PUT"
}

allow if {
	"7" in input.parsed_query.id
	http.method == "HEAD"
}`,
    aims: [
      { path: '/x?id=7' },
      { path: '/x', method: 'POST' },
      { path: '/x', method: 'PUT' },
      { path: '/x?id=8&id=7', method: 'HEAD' },
    ],
  },
  {
    name: 'regexes',
    rules: `allow if regex.match("^/orders/[0-9]+$", http.path)

allow if regex.match("/v[12]/", http.path)

allow if regex.match("^(GET|POST)$", http.method) == false

allow if {
	not regex.match("secret", http.path)
	http.method == "POST"
}

allow if regex.match(\`(?i)^/mixed(\\.html)?\`, http.path)

allow if regex.match(\`^/w\\w+\\b$\`, http.path)`,
    aims: [
      { path: '/orders/7' },
      { path: '/a/v1/b' },
      { method: 'PUT' },
      { path: '/x', method: 'POST' },
      { path: '/MIXED.html' },
      { path: '/wx' },
    ],
  },
  {
    name: 'globs',
    rules: `allow if glob.match("/orders/*", ["/"], http.path)

allow if glob.match("spiffe://example.test/*", ["/"], peer)

allow if glob.match("/{a,b}?/**", ["/"], http.path)`,
    aims: [{ path: '/orders/7' }, alice, { path: '/ax/y/z' }],
  },
  {
    name: 'pairs_of_table',
    rules: `table := {
	["GET", "orders"],
	["POST", "bills"],
	["DELETE", "a b"],
}

allow if [http.method, input.parsed_path[0]] in table`,
    aims: [{ path: '/orders/1' }, { path: '/bills', method: 'POST' }, { path: '/a%20b/', method: 'DELETE' }],
  },
  {
    name: 'unpacked',
    rules: `allow if {
	[first, _] := input.parsed_path
	first == "orders"
}

allow if {
	[_, id] = split(http.path, "=")
	id == "7"
}

allow if input.parsed_path = ["x", _, "z"]`,
    aims: [{ path: '/orders/1' }, { path: '/a?b=7' }, { path: '/x/y/z' }],
  },
  {
    name: 'joined_path',
    rules: `allow if concat("/", input.parsed_path) == "orders/7"

allow if sprintf("%s %s", [http.method, http.path]) == "GET /printed"

allow if replace(http.path, "x", "") == "/gone"

allow if trim_suffix(http.path, "/") == "/slash"

allow if substring(http.path, 0, 4) == "/sub"`,
    aims: [{ path: '/orders/7' }, { path: '/printed' }, { path: '/gxone' }, { path: '/slash/' }, { path: '/sub1' }],
  },
  {
    name: 'segments_all',
    rules: `allow if {
	input.parsed_path[0] == "all"
	every segment in input.parsed_path {
		segment != ".."
		not segment == "secret"
	}
}

allow if {
	some segment in input.parsed_path
	segment == "some"
}

allow if {
	"in" in input.parsed_path
	not "out" in input.parsed_path
}`,
    aims: [{ path: '/all/x' }, { path: '/a/some/b' }, { path: '/in/x' }],
  },
];
