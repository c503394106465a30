"""The Workload API as the Python package spiffe uses it. Each command prints one JSON object for each answer."""

import json
import sys
import threading

from spiffe import JwtSource, JwtSvid, SpiffeId, WorkloadApiClient, X509Source


def say(answer):
    print(json.dumps(answer), flush=True)


def sizes(bundles, authorities):
    return {bundle.trust_domain.name: len(authorities(bundle)) for bundle in bundles}


def watch(client):
    """The whole X.509 context, and again on each change, for ever."""

    def update(context):
        say(
            {
                "svids": sorted(str(svid.spiffe_id) for svid in context.x509_svids),
                "roots": sizes(context.x509_bundle_set.bundles, lambda one: one.x509_authorities),
            }
        )

    handler = client.stream_x509_contexts(update, lambda error: say({"error": str(error)}))
    threading.Event().wait()
    handler.cancel()


def jwt(client, audience, spiffe_id):
    """A token for an audience, checked by the server and by a JWT source."""
    there = client.validate_jwt_svid(client.fetch_jwt_svid({audience}, SpiffeId(spiffe_id)).token, audience)
    with JwtSource() as source:
        svid = source.fetch_svid({audience}, SpiffeId(spiffe_id))
        bundle = source.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        here = JwtSvid.parse_and_validate(svid.token, bundle, {audience})
    say({"here": str(here.spiffe_id), "there": str(there.spiffe_id)})


def bundles(client):
    roots = client.fetch_x509_bundles()
    keys = client.fetch_jwt_bundles()
    say(
        {
            "roots": sizes(roots.bundles, lambda one: one.x509_authorities),
            "keys": sizes(keys.bundles, lambda one: one.jwt_authorities),
        }
    )


def default(_client):
    """The default SVID of an X.509 source."""
    with X509Source() as source:
        say({"id": str(source.svid.spiffe_id)})


def main():
    commands = {"watch": watch, "jwt": jwt, "bundles": bundles, "default": default}
    try:
        with WorkloadApiClient() as client:
            commands[sys.argv[1]](client, *sys.argv[2:])
    except Exception as error:
        say({"error": str(error)})


main()
