# METADATA
# title: Default deny
# description: |
#   Nothing is allowed. What a gate begins with, and what a route gets that nobody has thought about yet.
package envoy.default_deny

# METADATA
# entrypoint: true
default allow := false
