/** Policies about values that are undefined, false, of another type, or of an earlier branch. */
import type { Aim, WrittenPolicy } from './policy.ts';

const alice = { certificate: 'alice' };
const header = (...pairs: readonly (readonly [string, string])[]): Aim => ({ headers: pairs });
const roles: readonly Aim[] = [{}, header(['x-role', 'a'])];
const ways = (...methods: readonly string[]): readonly Aim[] =>
  methods.flatMap((method) => [{ method }, { method, path: '/a/b' }, { method, ...header(['x-role', 'guest']) }]);

export const WRITTEN_VALUES: readonly WrittenPolicy[] = [
  { name: 'default_null', rules: 'allow if object.get(headers, "x-role", null) != null', aims: roles },
  { name: 'default_false', rules: 'allow if object.get(headers, "x-role", false)', aims: roles },
  { name: 'default_number', rules: 'allow if not object.get(headers, "x-role", 5) == 5', aims: roles },
  {
    name: 'defaults_denied',
    rules: `allow if {
	http.method == "GET"
	not object.get(headers, "x-role", null) == null
}

allow if {
	http.method == "PUT"
	not object.get(headers, "x-role", null) in {null, "guest"}
}

allow if {
	http.method == "POST"
	object.get(headers, "x-role", 1) != 1
}

allow if {
	http.method == "HEAD"
	role := object.get(headers, "x-role", false)
	not role
}

allow if {
	http.method == "DELETE"
	regex.match("^.+$", object.get(headers, "x-role", "\\n"))
}`,
    aims: ways('GET', 'PUT', 'POST', 'HEAD', 'DELETE'),
  },
  {
    name: 'else_reference',
    rules: `role := headers["x-role"] if startswith(http.path, "/a") else := "guest"

blocked if role == "guest"

allow if not blocked`,
    aims: [{ path: '/a' }, { path: '/a', ...header(['x-role', 'y']) }, { path: '/b' }],
  },
  {
    name: 'else_call',
    rules: `role := trim_prefix(headers["x-role"], "r-") if startswith(http.path, "/a") else := "guest"

guests contains "guest"

allow if not role in guests`,
    aims: [{ path: '/a' }, { path: '/a', ...header(['x-role', 'y']) }, { path: '/b' }],
  },
  {
    name: 'else_array',
    rules: `found := [input.parsed_path[1]] if startswith(http.path, "/a") else := ["none"]

bad if found[0] == "none"

allow if not bad`,
    aims: [{ path: '/a' }, { path: '/a/b' }, { path: '/b' }],
  },
  {
    name: 'else_function',
    rules: `second(list) := list[1] if {
	startswith(http.path, "/a")
} else := "none" if {
	startswith(http.path, "/b")
} else := lower(list[2])

bad if second(input.parsed_path) in {"none", "shut"}

allow if not bad`,
    aims: [{ path: '/a' }, { path: '/a/b' }, { path: '/b' }, { path: '/c/d/e' }, { path: '/c' }],
  },
  {
    name: 'else_false',
    rules: `ok(path) := false if {
	startswith(path, "/shut")
} else if {
	startswith(path, "/s")
} else := startswith(path, "/t") if {
	http.method == "GET"
} else := false

allow if ok(http.path)

allow if {
	not ok(http.path)
	http.method == "PUT"
}

allow if {
	ok(http.path) == false
	http.method == "DELETE"
}`,
    aims: [{ path: '/s' }, { path: '/t' }, ...ways('PUT', 'DELETE'), { path: '/sx', method: 'PUT' }],
  },
  {
    name: 'sets_and_lists',
    rules: `allow if input.parsed_path == {"users"}

allow if {
	not input.parsed_path == {"users"}
	http.method == "PUT"
}

allow if {
	input.parsed_path != {"a", "b"}
	http.method == "POST"
}

allow if {
	input.parsed_path in [["a", "b"], {"c"}]
	http.method == "HEAD"
}

allow if {
	input.parsed_path in {"k": {"groups"}}
	http.method == "GET"
}`,
    aims: [{ path: '/users' }, { path: '/groups' }, { path: '/users', method: 'PUT' }, ...ways('POST', 'HEAD')],
  },
  {
    name: 'other_types',
    rules: `allow if {
	not input.attributes.destination.address.socketAddress.portValue == "8080"
	http.method == "PUT"
}

allow if {
	not input.parsed_path == "/a"
	http.method == "HEAD"
}

allow if {
	not input.parsed_path[0] == ["a"]
	http.method == "POST"
}

allow if {
	http.method in ["DELETE", ["GET"], 5, null, true]
	http.path != "/x"
}

allow if http.path in {"a": "/in", "/key": "b"}

allow if {
	not http.path in {"/no": 1, "x": "/a/b"}
	http.method == "TRACE"
}`,
    aims: [...ways('PUT', 'HEAD', 'POST', 'DELETE', 'TRACE'), { path: '/in' }, { path: '/key' }],
  },
  {
    name: 'undefined_in_helpers',
    rules: `second := input.parsed_path[1]

same(text) if text == headers["x-role"]

is_open if second == "b"

is_open if same(second)

pair := [http.method, second]

allow if {
	not is_open
	http.method == "GET"
}

allow if {
	not same("guest")
	http.method == "PUT"
}

allow if {
	not pair[0] == "GET"
	http.method == "POST"
}

allow if {
	x := {"m": http.method, "s": second}
	x.m == "DELETE"
}`,
    aims: [{ path: '/a' }, ...ways('GET', 'PUT', 'POST', 'DELETE')],
  },
  {
    name: 'false_values',
    rules: `is_a := startswith(http.path, "/a")

is_b := x if x := startswith(http.path, "/b")

is_get := http.method == "GET"

allow if is_a == is_get

allow if {
	not is_b
	not is_a
}

allow if {
	is_a == false
	http.method == "PUT"
}

allow if {
	is_b != true
	http.method == "POST"
}

allow if false in {is_a, is_b}`,
    aims: [{ path: '/a' }, { path: '/b' }, ...ways('PUT', 'POST'), { method: 'DELETE' }],
  },
  {
    name: 'partial_objects',
    rules: `owner[name] := "alice" if {
	some name in {"orders", "bills"}
	http.method == "GET"
}

level.read := 1 if http.method == "GET"

level.write := 2 if startswith(http.path, "/w")

allow if {
	owner[input.parsed_path[0]] == "alice"
	peer == alice
}

allow if {
	not level.write
	level.read < 2
	startswith(http.path, "/r")
}

allow if {
	not owner.orders
	not level.read == 1
	not level.write == 1
}

allow if {
	some what, n in level
	what == "write"
	n == 2
	http.method == "PUT"
}`,
    aims: [{ path: '/orders/7', ...alice }, { path: '/r' }, { path: '/w', method: 'PUT' }, { method: 'POST' }],
  },
  {
    name: 'denied_definitions',
    rules: `shut(x) if x == "shut"

shut(x) if startswith(x, "no-")

shut(x) if {
	x == headers["x-role"]
	not x == "open"
}

default opened(_) := false

opened("open") := true

opened(x) if startswith(x, "op")

allow if {
	not shut(input.parsed_path[0])
	http.method == "GET"
}

allow if {
	not opened(input.parsed_path[1])
	http.method == "PUT"
}

allow if opened(input.parsed_path[1]) == false`,
    aims: [{ path: '/a' }, { path: '/open', ...header(['x-role', 'open']) }, ...ways('PUT', 'POST')],
  },
  {
    name: 'sets_denied',
    rules: `blocked contains "guest"

blocked contains headers["x-block"]

blocked contains s if {
	s := input.parsed_path[0]
	s != "open"
}

allow if {
	not headers["x-role"] in blocked
	http.method == "GET"
}

allow if {
	not "open" in blocked
	http.method == "PUT"
}

allow if {
	count(blocked) == 1
	http.method == "POST"
}

allow if {
	not blocked[http.host]
	http.method == "DELETE"
}`,
    aims: [...ways('GET', 'PUT', 'DELETE'), { method: 'POST', path: '/open' }],
  },
  {
    name: 'changed_input',
    rules: `ok if http.method == "GET"

no if not ok

allow if {
	startswith(http.path, "/a")
	not ok with input.attributes.request.http.method as "PUT"
}

allow if {
	startswith(http.path, "/b")
	ok with input as {"attributes": {"request": {"http": {"method": "GET"}}}}
}

allow if {
	startswith(http.path, "/c")
	not no with data.hunt.changed_input.ok as false
}

allow if {
	not no
	startswith(http.path, "/d")
}`,
    aims: [{ path: '/a' }, { path: '/b', method: 'PUT' }, { path: '/c' }, { path: '/d' }],
  },
];
