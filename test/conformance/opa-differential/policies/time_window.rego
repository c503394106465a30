# Office hours by the time of the request.
package time_window

request_time := input.attributes.request.time

ns := (request_time.seconds * 1000000000) + object.get(request_time, "nanos", 0)

clock := time.clock([ns, "Europe/Berlin"])

day := time.weekday([ns, "Europe/Berlin"])

open if {
	not day in {"Saturday", "Sunday"}
	clock[0] >= 8
	clock[0] < 18
}

until := time.parse_rfc3339_ns(input.attributes.request.http.headers["x-until"])

decision := {
	"allowed": open,
	"body": sprintf("closed on %s at %02d:%02d", [day, clock[0], clock[1]]),
	"dynamic_metadata": {"date": time.date(ns), "text": time.format(ns), "next": time.add_date(ns, 0, 1, 1)},
}

decision := {"allowed": ns < until, "headers": {"x-left": time.format([until, "UTC", "2006-01-02"])}} if until
