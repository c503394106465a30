# What Envoy adds beside the request.
package routes

attributes := input.attributes

tier := attributes.metadataContext.filterMetadata["envoy.filters.http.jwt_authn"].claims.tier

decision := {
	"allowed": allowed,
	"headers": {"x-tier": sprintf("%v", [object.get(attributes.contextExtensions, "tier", "none")])},
	"dynamic_metadata": {"metadata": object.get(attributes, "metadataContext", null), "route": object.get(attributes, "routeMetadataContext", null)},
}

default allowed := false

allowed if tier == "gold"

allowed if {
	attributes.tlsSession.sni == "orders.example.test"
	attributes.destination.labels.zone == "eu"
}

allowed if attributes.contextExtensions.tier == "open"
