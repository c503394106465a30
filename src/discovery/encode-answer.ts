import {
  DeltaDiscoveryResponse,
  DiscoveryResource,
  DiscoveryResponse,
  encodeMessage,
  msToDuration,
  packAny,
  RESOURCE_TYPE_URL,
  type AnyInit,
} from '../proto/index.ts';
import type { EncodedResource } from './resource-view.ts';
import type { ResourceVersion } from './stream-books.ts';

/** One version of a resource that an Envoy holds for a limited time. */
export interface LeasedResource extends ResourceVersion {
  readonly ttlMs: number;
}

/** What goes around the resources of one answer. */
export interface AnswerFrame {
  readonly typeUrl: string;
  /** Empty in the answer to a Fetch call. */
  readonly nonce: string;
}

/** Of the state of the world: everything that was asked for, or of it what is renewed. */
export function encodeSotwAnswer(
  resources: readonly EncodedResource[],
  version: string,
  { typeUrl, nonce }: AnswerFrame,
): Uint8Array {
  return encodeMessage(DiscoveryResponse, {
    versionInfo: version,
    resources: resources.map((resource) => sotwResource(resource, typeUrl)),
    typeUrl,
    nonce,
  });
}

export function encodeDeltaAnswer(
  sent: readonly EncodedResource[],
  removed: readonly string[],
  { typeUrl, nonce }: AnswerFrame,
): Uint8Array {
  return encodeMessage(DeltaDiscoveryResponse, {
    resources: sent.map(({ name, version, bytes, ttlMs }) => ({
      name,
      version,
      resource: packAny(typeUrl, bytes),
      ...lifetime(ttlMs),
    })),
    typeUrl,
    nonce,
    removedResources: removed,
  });
}

/** Renews leases: Envoy takes a resource without content in the version that it holds for a sign of life (xDS TTL). */
export function encodeDeltaRenewal(leased: readonly LeasedResource[], { typeUrl, nonce }: AnswerFrame): Uint8Array {
  return encodeMessage(DeltaDiscoveryResponse, {
    resources: leased.map(({ name, version, ttlMs }) => ({ name, version, ...lifetime(ttlMs) })),
    typeUrl,
    nonce,
  });
}

/** What has a time to live, wrapped once for all streams: by its bytes, which they share. */
const WRAPPED = new WeakMap<Uint8Array, { readonly ttlMs: number; readonly any: AnyInit }>();

/** Only what has a time to live is wrapped: that is the one use that Envoys have for it in this variant. */
function sotwResource({ name, version, bytes, ttlMs }: EncodedResource, typeUrl: string): AnyInit {
  const resource = packAny(typeUrl, bytes);
  if (ttlMs === undefined) return resource;
  const known = WRAPPED.get(bytes);
  if (known?.ttlMs === ttlMs) return known.any;
  const message = encodeMessage(DiscoveryResource, { name, version, resource, ...lifetime(ttlMs) });
  const any = packAny(RESOURCE_TYPE_URL, message);
  WRAPPED.set(bytes, { ttlMs, any });
  return any;
}

function lifetime(ttlMs: number | undefined): { readonly ttl?: ReturnType<typeof msToDuration> } {
  return ttlMs === undefined ? {} : { ttl: msToDuration(ttlMs) };
}
