import type { BundleAnswer, BundleFetcher } from './bundle-fetcher.ts';
import {
  BUNDLE_LAYER_TYPE,
  isDigestOf,
  MANIFEST_TYPES,
  parseOciDocument,
  type Descriptor,
  type OciDocument,
} from './oci-manifest.ts';
import { createRegistryClient, type RegistryClient } from './registry-client.ts';
import { failure, withinTime } from './source-exchange.ts';
import type { SourceAccess } from './source-http.ts';

/** An artifact in a registry. */
export interface OciReference {
  /** Of the registry, such as `https://ghcr.io`. */
  readonly origin: string;
  readonly repository: string;
  /** A tag, or `sha256:…`, which never changes. */
  readonly reference: string;
}

const MAX_MANIFEST_BYTES = 4 * 2 ** 20;
/** Lists of lists, as OPA follows them. */
const MAX_DEPTH = 4;
/** Manifests that are asked for in one go. */
const MAX_MANIFESTS = 32;

/**
 * Bundles from a registry, by the OCI distribution API: the first layer of OPA's type in the manifest under the tag or digest.
 * Every part is checked against the digest that names it. The layer's digest is the entity tag.
 */
export function ociFetcher(place: OciReference, access: SourceAccess): BundleFetcher {
  const { origin, repository, reference } = place;
  const { host } = new URL(origin);
  const { clock, timeoutMs } = access;
  const client = createRegistryClient(origin, repository, access);
  const ask = async (etag: string | undefined, signal: AbortSignal): Promise<BundleAnswer> => {
    const layer = await findLayer(client, reference, signal);
    if (layer.digest === etag) return { kind: 'unchanged' };
    if (layer.size > access.maxBytes) throw failure(`the bundle has more than ${access.maxBytes} bytes`);
    const question = { accept: '*/*', maxBytes: access.maxBytes, signal };
    const { status, body } = await client.get(`blobs/${layer.digest}`, question);
    if (status !== 200) throw failure(`${host} answers with status ${status} for the bundle`);
    if (body.length !== layer.size || !isDigestOf(layer.digest, body))
      throw failure(`${host} gives another bundle than the manifest names`);
    return { kind: 'bundle', bytes: body, etag: layer.digest, canWait: false };
  };
  const description = `oci://${host}/${repository}${reference.includes(':') ? '@' : ':'}${reference}`;
  return {
    kind: 'oci',
    description,
    place: description,
    fetch: ({ etag, signal: ended }) =>
      withinTime({ host, timeoutMs, clock, signal: ended }, (signal) => ask(etag, signal)),
  };
}

async function findLayer(client: RegistryClient, reference: string, signal: AbortSignal): Promise<Descriptor> {
  const seen = new Set<string>();
  const look = async (document: OciDocument, depth: number): Promise<Descriptor | undefined> => {
    if (document.kind === 'manifest') return document.layers.find(({ mediaType }) => mediaType === BUNDLE_LAYER_TYPE);
    if (depth >= MAX_DEPTH) throw failure(`lists of manifests are nested more than ${MAX_DEPTH} deep`);
    for (const { digest } of document.manifests) {
      if (seen.has(digest)) continue;
      seen.add(digest);
      if (seen.size > MAX_MANIFESTS) throw failure(`the list has more than ${MAX_MANIFESTS} manifests`);
      const found = await look(await getManifest(client, digest, signal), depth + 1);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const found = await look(await getManifest(client, reference, signal), 0);
  if (found === undefined) throw failure(`the manifest has no layer of type ${BUNDLE_LAYER_TYPE}`);
  return found;
}

async function getManifest(client: RegistryClient, reference: string, signal: AbortSignal): Promise<OciDocument> {
  const accept = MANIFEST_TYPES.join(', ');
  const { status, headers, body } = await client.get(`manifests/${reference}`, {
    accept,
    maxBytes: MAX_MANIFEST_BYTES,
    signal,
  });
  if (status !== 200) throw failure(`the registry answers with status ${status} for the manifest`);
  const said = headers['docker-content-digest'];
  const isNamed = !reference.includes(':') || isDigestOf(reference, body);
  const isSaid = typeof said !== 'string' || isDigestOf(said, body);
  if (!isNamed || !isSaid) throw failure('the registry gives another manifest than its digest names');
  return parseOciDocument(body);
}
