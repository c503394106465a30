/** Policies whose rules may have two values at once, which is an error for all that looks at them. */
import type { WrittenPolicy } from './policy.ts';

/** Each by itself: rules that may conflict leave all to the gate that are asked with them. */
export const WRITTEN_CONFLICTS: readonly WrittenPolicy[] = [
  {
    name: 'variable_names',
    rules: `flag[x] := true if x := input.parsed_path[0]

flag.a := false if http.method == "GET"

allow if flag.a

allow if http.path == "/always"`,
    aims: [{ path: '/a', method: 'POST' }, { path: '/a' }, { path: '/always' }],
  },
  {
    name: 'variable_names_beside',
    rules: `flag[x] := true if x := input.parsed_path[0]

flag[x] := true if x := input.parsed_path[1]

flag.a := false if http.method == "GET"

allow if flag.b`,
    aims: [{ path: '/a/b' }, { path: '/b' }, { path: '/b', method: 'POST' }],
  },
  {
    name: 'deeper_names',
    rules: `role[x] := true if x := input.parsed_path[_]

role.a.b := true if http.method == "GET"

allow if role.c`,
    aims: [{ path: '/c' }, { path: '/a/c' }, { path: '/a/c', method: 'POST' }],
  },
  {
    name: 'sets_and_values',
    rules: `seen[x] contains "y" if x := input.parsed_path[_]

seen.a := "y" if http.method == "GET"

allow if "y" in seen.c`,
    aims: [{ path: '/c' }, { path: '/a/c' }, { path: '/a/c', method: 'POST' }],
  },
  {
    name: 'keys_twice',
    rules: `allow if http.method == "GET"

allow if {
	named := {k: v | k := "x"; v := input.parsed_path[_]}
	named.x == "admin"
}`,
    aims: [{ path: '/x' }, { path: '/a/b' }, { path: '/admin', method: 'PUT' }],
  },
  {
    name: 'keys_twice_in_helpers',
    rules: `pairs := {name: value | some part in split(http.path, "/"); [name, value] := split(part, "=")}

named(list) := {"k": v | some v in list}

allow if http.method == "GET"

allow if pairs.a == "b"

allow if {
	http.method == "PUT"
	not named(input.parsed_path).k == "x"
}`,
    aims: [{ path: '/x' }, { path: '/a=b' }, { path: '/a=b/a=c' }, { path: '/a/b', method: 'PUT' }],
  },
  {
    name: 'keys_twice_not',
    rules: `shut if {
	some v in {k: v | k := "x"; v := input.parsed_path[_]}
	v == "shut"
}

allow if {
	http.method == "GET"
	not shut
}`,
    aims: [{ path: '/x' }, { path: '/a/b' }],
  },
  {
    name: 'two_definitions',
    rules: `kind(path, _) := "a" if startswith(path, "/a")

kind(_, method) := "get" if method == "GET"

allow if not kind(http.path, http.method) == "a"`,
    aims: [{ path: '/b' }, { path: '/a', method: 'PUT' }, { path: '/a' }, { path: '/b', method: 'PUT' }],
  },
];
