# METADATA
# title: Default deny between services
# description: |
#   Allows a request when one row of data.rules names the verified peer it comes from, the service whose Envoy asks,
#   the method and the path. Everything else is denied, also what is missing or odd.
package envoy.authz

# METADATA
# entrypoint: true
default allow := false

allow if {
	path_is_plain
	some rule in data.rules
	peer in rule.from
	some service in callers
	service in rule.to
	request.method in rule.methods
	some pattern in rule.paths
	path_matches(pattern)
}

request := input.attributes.request.http

# The SPIFFE ID of the peer, defined only when svidgate checked its certificate against the live bundles.
peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true

# The SPIFFE IDs of the service whose Envoy asks, defined only when the kernel or a certificate proved who that is.
callers := input.svidgate.caller.spiffe_ids if input.svidgate.caller.kind in {"attested", "tls"}

# --- Paths -------------------------------------------------------------------------------------------------------
# A path that services may read in more than one way is refused: a proxy in between may normalize it after we looked.

raw_path := split(request.path, "?")[0]

path_is_plain if {
	startswith(raw_path, "/")
	not path_is_odd
}

path_is_odd if contains(raw_path, "//")

path_is_odd if contains(raw_path, "\\")

path_is_odd if contains(raw_path, ";")

# Where it ends the path, what follows would be seen by some readers only; parsed_path has it all.
path_is_odd if contains(raw_path, "#")

# Encoded / \ . % ; # ? and control characters, and the bytes that only overlong forms of them begin with. The pattern
# is compiled anew by each evaluation, so paths without an escape do not pay for it.
path_is_odd if {
	contains(raw_path, "%")
	regex.match(`(?i)%(2f|5c|2e|25|3b|23|3f|[01][0-9a-f]|7f|c[01])`, raw_path)
}

path_is_odd if {
	some segment in input.parsed_path
	segment in {".", ".."}
}

# Bytes that are not UTF-8, such as other overlong forms.
path_is_odd if {
	some segment in input.parsed_path
	contains(segment, "\ufffd")
}

# An empty segment is a slash at the end, and only there.
path_is_odd if {
	some i, segment in input.parsed_path
	segment == ""
	i < count(input.parsed_path) - 1
}

# Literal segments, `*` for exactly one segment, `**` at the end for any rest, also none.
path_matches(pattern) if {
	not endswith(pattern, "/**")
	segments := pattern_segments(pattern)
	count(segments) == count(input.parsed_path)
	every i, segment in segments {
		segment_matches(segment, input.parsed_path[i])
	}
}

path_matches(pattern) if {
	endswith(pattern, "/**")
	segments := pattern_segments(trim_suffix(pattern, "/**"))
	count(segments) <= count(input.parsed_path)
	every i, segment in segments {
		segment_matches(segment, input.parsed_path[i])
	}
}

# `/**` alone has nothing before it.
pattern_segments("") := []

pattern_segments(pattern) := split(substring(pattern, 1, -1), "/") if startswith(pattern, "/")

segment_matches("*", given) if given != ""

segment_matches(wanted, given) if wanted == given
