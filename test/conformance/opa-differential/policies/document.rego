# Everything that a policy sees of a request, back as metadata, and its exact text.
package document

decision := {
	"allowed": true,
	"headers": {"x-digest": crypto.sha256(json.marshal(digested)), "x-metadata": json.marshal(numbered)},
	"dynamic_metadata": seen,
}

seen := object.remove(input, ["svidgate"])

digested := object.union(object.remove(seen, ["attributes"]), {"attributes": object.remove(object.get(input, "attributes", {}), numbers_in)})

numbers_in := ["metadataContext", "routeMetadataContext"]

numbered := object.filter(object.get(input, "attributes", {}), numbers_in)
