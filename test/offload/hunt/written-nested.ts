/** Policies whose variables stand in several places, with functions of functions, and numbers against texts. */
import type { Aim, WrittenPolicy } from './policy.ts';

const header = (...pairs: readonly (readonly [string, string])[]): Aim => ({ headers: pairs });

export const WRITTEN_NESTED: readonly WrittenPolicy[] = [
  {
    name: 'bindings',
    rules: `allow if {
	some i, j
	input.parsed_path[i] == "x"
	input.parsed_path[j] == "y"
	i < j
}

allow if {
	some i
	s := input.parsed_path[i]
	startswith(s, "q")
	endswith(s, "z")
}

allow if {
	some i, s in input.parsed_path
	s == "m"
	i > 0
}

allow if {
	some i
	input.parsed_path[i] == "k"
	not input.parsed_path[i + 1]
}

allow if {
	some name, value in headers
	startswith(name, "x-")
	value == "yes"
}

allow if {
	some s in input.parsed_path
	not s in {"n", "o"}
	http.method == "PUT"
}`,
    aims: [
      { path: '/x/y' },
      { path: '/y/x' },
      { path: '/q/z' },
      { path: '/qz' },
      { path: '/a/m' },
      { path: '/m' },
      { path: '/k' },
      { path: '/k/a' },
      header(['x-a', 'yes']),
      { path: '/n', method: 'PUT' },
    ],
  },
  {
    name: 'nested_else',
    rules: `inner(p) := "in" if {
	p[0] == "a"
} else := p[2] if {
	p[0] == "b"
} else := "x"

outer(p) := inner(p) if {
	http.method == "GET"
} else := true if {
	not inner(p) == "in"
} else := false

allow if outer(input.parsed_path) == "in"

allow if {
	outer(input.parsed_path) == true
	http.method == "PUT"
}

allow if {
	not outer(input.parsed_path)
	http.method == "POST"
}`,
    aims: [
      { path: '/a' },
      { path: '/b', method: 'PUT' },
      { path: '/b/x/in', method: 'PUT' },
      { path: '/a', method: 'POST' },
      { path: '/b/x/y', method: 'POST' },
    ],
  },
  {
    name: 'positions_shared',
    rules: `allow if {
	some i
	input.parsed_path[i] == "a"
	input.parsed_query.d[i] == "1"
}

allow if {
	some i
	input.parsed_path[i] == "b"
	http.method == "GET"
	not input.parsed_path[i] == "c"
}

allow if {
	some s in input.parsed_path
	s == headers["x-s"]
}

shut(i) if input.parsed_path[i] == "d"

allow if {
	not shut(0)
	not shut(1)
	http.method == "PUT"
}

allow if {
	some i in [0, 1]
	not shut(i)
	http.method == "POST"
}`,
    aims: [
      { path: '/x/a?d=1' },
      { path: '/a?d=1' },
      { path: '/b' },
      { path: '/q', ...header(['x-s', 'q']) },
      { path: '/d', method: 'PUT' },
      { path: '/d', method: 'POST' },
      { path: '/d/d', method: 'POST' },
    ],
  },
  {
    name: 'number_texts',
    rules: `allow if to_number(headers["x-n"]) > 4

allow if {
	not headers["x-n"] == 5
	http.method == "PUT"
}

allow if {
	not input.parsed_path[0] == 5
	http.method == "POST"
}

allow if {
	count(input.parsed_path) != 1.5
	http.method == "DELETE"
}

allow if {
	input.attributes.destination.address.socketAddress.portValue < 8080.5
	http.method == "TRACE"
}

allow if {
	http.method > 5
	startswith(http.path, "/gt")
}

allow if {
	not http.path < 5
	http.method == "PATCH"
}`,
    aims: [
      { ...header(['x-n', '5']) },
      { method: 'PUT', ...header(['x-n', '5']) },
      { method: 'POST', path: '/5' },
      { method: 'DELETE', path: '/1' },
      { method: 'TRACE' },
      { method: 'TRACE', port: 8081 },
      { path: '/gt' },
      { method: 'PATCH' },
    ],
  },
];
