# Object decisions with each field, by the first segment of the path.
package every_field

decisions := {
	"people": {
		"allowed": true,
		"headers": [{"x-one": "1"}, {"x-two": ["2", "zwei"]}, {"X-One": "uno"}],
		"request_headers_to_remove": ["authorization", "X-Debug"],
		"response_headers_to_add": {"set-cookie": ["a=1", "b=2"], "x-by": "policy"},
		"query_parameters_to_set": {"tenant": "a b&c", "page": "2", "ünï": "ö"},
		"query_parameters_to_remove": ["token", "debug"],
		"dynamic_metadata": {"n": 1.5, "list": [1, null, true, {"a": "b"}], "nested": {"x": {}}},
		"body": 7,
		"http_status": "ignored",
	},
	"orders": {
		"allowed": false,
		"http_status": 302,
		"headers": {"location": "https://login.test/?back=%2F", "set-cookie": ["a=1; Path=/", "b=2"]},
		"dynamic_metadata": {"why": "login"},
		"request_headers_to_remove": 7,
	},
	"files": {"allowed": false, "http_status": 429, "body": "{\"error\": \"slow down\"}", "headers": {"content-type": "application/json", "retry-after": "3"}},
	"v1": {"allowed": false, "http_status": 200, "body": "hidden"},
	"v2": {"allowed": true, "headers": {"host": "elsewhere.test"}},
	"v3": {"allowed": true, "headers": {"x-envoy-original-path": "/x"}},
	"a": {"allowed": true, "headers": {"x-bad": "a\r\nb: c"}},
	"b": {"allowed": false, "http_status": 418},
	"c": {"allowed": "yes"},
	"d": {"headers": {}},
	"health": true,
	"": false,
}

decision := decisions[input.parsed_path[0]]
