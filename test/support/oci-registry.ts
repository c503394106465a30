import { hash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A registry by the OCI distribution specification v1.1, as far as pulling goes, with a token service. */
export interface OciRegistry extends AsyncDisposable {
  readonly port: number;
  readonly origin: string;
  /** Method, path and authorization of each request, the token service's included. */
  readonly requests: { readonly path: string; readonly authorization: string | undefined }[];
  /** Blobs and manifests by digest. */
  readonly content: Map<string, { readonly bytes: Uint8Array; readonly type: string }>;
  /** Digests by tag. */
  readonly tags: Map<string, string>;
  /** Puts a blob there and gives its descriptor. */
  blob(bytes: Uint8Array, mediaType: string): OciDescriptor;
  /** Puts a manifest or index there, under a tag if one is given, and gives its descriptor. */
  document(value: object, mediaType: string, tag?: string): OciDescriptor;
  /** As `opa build` and `oras push … bundle.tar.gz:application/vnd.oci.image.layer.v1.tar+gzip` put a bundle there. */
  pushBundle(bytes: Uint8Array, tag: string): OciDescriptor;
  /** Answers instead of it while it gives true. */
  fault: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
}

export interface OciDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface OciRegistryOptions {
  readonly repository: string;
  /** `USER:PASSWORD` that are needed; absent: everybody may pull. */
  readonly credentials?: string;
  /** What it asks for. Default `bearer`. */
  readonly scheme?: 'basic' | 'bearer';
  /** Where its token service is, when not here. */
  readonly realm?: string;
}

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const BUNDLE_LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const BUNDLE_CONFIG = 'application/vnd.cncf.openpolicyagent.config.v1+json';

export async function startOciRegistry(options: OciRegistryOptions): Promise<OciRegistry> {
  const { repository, credentials, scheme = 'bearer' } = options;
  const tokens = new Set<string>();
  const http = createServer((request, response) => {
    const { url = '', headers } = request;
    registry.requests.push({ path: url, authorization: headers.authorization });
    if (registry.fault?.(request, response) === true) return;
    const basic = credentials === undefined ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
    if (url.startsWith('/token?')) {
      const asked = new URL(url, registry.origin).searchParams;
      const isRight =
        asked.get('scope') === `repository:${repository}:pull` && asked.get('service') === 'test, "quoted"';
      if (!isRight || (basic !== undefined && headers.authorization !== basic))
        return void response.writeHead(401).end();
      const token = `token-${tokens.size + 1}`;
      tokens.add(token);
      return void response.writeHead(200).end(JSON.stringify({ token, expires_in: 300 }));
    }
    if (credentials !== undefined) {
      const [kind = '', value = ''] = (headers.authorization ?? '').split(' ');
      const isKnown = scheme === 'basic' ? headers.authorization === basic : kind === 'Bearer' && tokens.has(value);
      if (!isKnown) {
        const realm = options.realm ?? `${registry.origin}/token`;
        const bearer = `Bearer realm="${realm}",service="test, \\"quoted\\"",scope="repository:everything:*"`;
        const challenge = scheme === 'basic' ? 'Basic realm="test"' : bearer;
        return void response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
    }
    const [, kind, reference = ''] = /^\/v2\/.+\/(manifests|blobs)\/([^/?]+)$/.exec(url) ?? [];
    const found = registry.content.get(registry.tags.get(reference) ?? reference);
    if (found === undefined || !url.startsWith(`/v2/${repository}/`)) return void response.writeHead(404).end();
    const more = kind === 'manifests' ? { 'docker-content-digest': digestOf(found.bytes) } : {};
    response.writeHead(200, { 'content-type': found.type, ...more }).end(found.bytes);
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  const put = (bytes: Uint8Array, mediaType: string): OciDescriptor => {
    const digest = digestOf(bytes);
    registry.content.set(digest, { bytes, type: mediaType });
    return { mediaType, digest, size: bytes.length };
  };
  const registry: OciRegistry = {
    port,
    origin: `http://127.0.0.1:${port}`,
    requests: [],
    content: new Map(),
    tags: new Map(),
    fault: undefined,
    blob: put,
    document(value, mediaType, tag) {
      const descriptor = put(Buffer.from(JSON.stringify(value)), mediaType);
      if (tag !== undefined) registry.tags.set(tag, descriptor.digest);
      return descriptor;
    },
    pushBundle(bytes, tag) {
      const config = registry.blob(Buffer.from('{}'), BUNDLE_CONFIG);
      const layer = registry.blob(bytes, BUNDLE_LAYER);
      const annotated = { ...layer, annotations: { 'org.opencontainers.image.title': 'bundle.tar.gz' } };
      const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [annotated] };
      registry.document(manifest, OCI_MANIFEST, tag);
      return layer;
    },
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
  return registry;
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${hash('sha256', bytes)}`;
}
