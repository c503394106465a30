# METADATA
# title: Paths that have one reading
# description: |
#   A path that services may read in more than one way is not plain: a proxy in between may normalize it after we looked. A
#   policy asks for `is_plain` first, and then for the pattern.
package svidgate.paths

raw_path := split(input.attributes.request.http.path, "?")[0]

is_plain if {
	startswith(raw_path, "/")
	not is_odd
}

is_odd if contains(raw_path, "//")

is_odd if contains(raw_path, "\\")

is_odd if contains(raw_path, ";")

# Where it ends the path, what follows would be seen by some readers only; parsed_path has it all.
is_odd if contains(raw_path, "#")

# Encoded / \ . % ; # ? and control characters, and the bytes that only overlong forms of them begin with. The pattern
# is compiled anew by each evaluation, so paths without an escape do not pay for it.
is_odd if {
	contains(raw_path, "%")
	regex.match(`(?i)%(2f|5c|2e|25|3b|23|3f|[01][0-9a-f]|7f|c[01])`, raw_path)
}

is_odd if {
	some segment in input.parsed_path
	segment in {".", ".."}
}

# Bytes that are not UTF-8, such as other overlong forms.
is_odd if {
	some segment in input.parsed_path
	contains(segment, "\ufffd")
}

# An empty segment is a slash at the end, and only there.
is_odd if {
	some i, segment in input.parsed_path
	segment == ""
	i < count(input.parsed_path) - 1
}

# Literal segments, `*` for exactly one segment, `**` at the end for any rest, also none.
matches(pattern) if {
	not endswith(pattern, "/**")
	segments := pattern_segments(pattern)
	count(segments) == count(input.parsed_path)
	every i, segment in segments {
		segment_matches(segment, input.parsed_path[i])
	}
}

matches(pattern) if {
	endswith(pattern, "/**")
	segments := pattern_segments(trim_suffix(pattern, "/**"))
	count(segments) <= count(input.parsed_path)
	every i, segment in segments {
		segment_matches(segment, input.parsed_path[i])
	}
}

# `/**` alone has nothing before it.
pattern_segments(pattern) := [] if {
	pattern == ""
} else := split(substring(pattern, 1, -1), "/") if {
	startswith(pattern, "/")
}

segment_matches("*", given) if given != ""

segment_matches(wanted, given) if {
	wanted != "*"
	wanted == given
}
