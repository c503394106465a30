import { hash } from 'node:crypto';
import { failure } from './source-exchange.ts';

/** Part of an image, by what it must be. */
export interface Descriptor {
  readonly mediaType: string;
  /** `sha256:` or `sha512:` and the hash in hex. */
  readonly digest: string;
  readonly size: number;
}

/** What stands under a tag or a digest: an image, or a list of such. */
export type OciDocument =
  | { readonly kind: 'manifest'; readonly layers: readonly Descriptor[] }
  | { readonly kind: 'index'; readonly manifests: readonly Descriptor[] };

/** In the order in which a registry should choose. */
export const MANIFEST_TYPES = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
] as const;

/** What OPA takes a bundle from. */
export const BUNDLE_LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';

const DIGEST = /^(sha256):[a-f0-9]{64}$|^(sha512):[a-f0-9]{128}$/;

/** Whether the bytes are those that the digest names. */
export function isDigestOf(digest: string, bytes: Uint8Array): boolean {
  const [, sha256, sha512] = DIGEST.exec(digest) ?? [];
  const algorithm = sha256 ?? sha512;
  return algorithm !== undefined && digest === `${algorithm}:${hash(algorithm, bytes)}`;
}

/** Reads a manifest or an index (OCI image-spec v1.1; Docker's of the same shape). Throws `policy_source_failed`. */
export function parseOciDocument(bytes: Uint8Array): OciDocument {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw failure('the manifest is not JSON');
  }
  if (typeof document !== 'object' || document === null) throw failure('the manifest is not an object');
  const { layers, manifests } = document as { readonly layers?: unknown; readonly manifests?: unknown };
  // As an image and a list at once it would be read in two ways.
  if (Array.isArray(layers) && manifests === undefined) return { kind: 'manifest', layers: layers.map(descriptorOf) };
  if (Array.isArray(manifests) && layers === undefined) {
    return { kind: 'index', manifests: manifests.filter((each) => !isAttestation(each)).map(descriptorOf) };
  }
  throw failure('the manifest has neither layers nor manifests');
}

function descriptorOf(value: unknown): Descriptor {
  const { mediaType, digest, size } = (value ?? {}) as { readonly [key in keyof Descriptor]?: unknown };
  if (typeof mediaType !== 'string' || typeof digest !== 'string' || !DIGEST.test(digest))
    throw failure('the manifest has a part without a type or a digest of sha256 or sha512');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw failure('the manifest has a part without a size');
  return { mediaType, digest, size };
}

/** What buildx puts beside images under a platform of this name, and never holds a bundle. */
function isAttestation(value: unknown): boolean {
  const { platform } = (value ?? {}) as {
    readonly platform?: { readonly os?: unknown; readonly architecture?: unknown };
  };
  return platform?.os === 'unknown' && platform.architecture === 'unknown';
}
