import {
  anyOf,
  DeltaDiscoveryResponse,
  DiscoveryResource,
  DiscoveryResponse,
  encodeMessage,
  fieldOf,
  msToDuration,
  RESOURCE_TYPE_URL,
  type Pieces,
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
  versionInfo: string,
  { typeUrl, nonce }: AnswerFrame,
): Uint8Array {
  const rest = encodeMessage(DiscoveryResponse, { versionInfo, typeUrl, nonce });
  const each = resources.flatMap((resource) => fieldOf(RESOURCES_FIELD, sotwResource(resource, typeUrl)));
  return Buffer.concat([...each, rest]);
}

export function encodeDeltaAnswer(
  sent: readonly EncodedResource[],
  removedResources: readonly string[],
  { typeUrl, nonce }: AnswerFrame,
): Uint8Array {
  const rest = encodeMessage(DeltaDiscoveryResponse, { typeUrl, nonce, removedResources });
  const each = sent.flatMap((resource) => fieldOf(RESOURCES_FIELD, namedResource(resource, typeUrl)));
  return Buffer.concat([...each, rest]);
}

/** Renews leases: Envoy takes a resource without content in the version that it holds for a sign of life (xDS TTL). */
export function encodeDeltaRenewal(leased: readonly LeasedResource[], { typeUrl, nonce }: AnswerFrame): Uint8Array {
  return encodeMessage(DeltaDiscoveryResponse, {
    resources: leased.map(({ name, version, ttlMs }) => ({ name, version, ...lifetime(ttlMs) })),
    typeUrl,
    nonce,
  });
}

/** Field 2 of both answers, and of Resource its content. */
const RESOURCES_FIELD = 2;
const CONTENT_FIELD = 2;

/** Only what has a time to live is wrapped: that is the one use that Envoys have for it in this variant. */
function sotwResource(resource: EncodedResource, typeUrl: string): Pieces {
  if (resource.ttlMs === undefined) return anyOf(typeUrl, [resource.bytes]);
  return anyOf(RESOURCE_TYPE_URL, namedResource(resource, typeUrl));
}

function namedResource({ name, version, bytes, ttlMs }: EncodedResource, typeUrl: string): Pieces {
  const about = encodeMessage(DiscoveryResource, { name, version, ...lifetime(ttlMs) });
  return [about, ...fieldOf(CONTENT_FIELD, anyOf(typeUrl, [bytes]))];
}

function lifetime(ttlMs: number | undefined): { readonly ttl?: ReturnType<typeof msToDuration> } {
  return ttlMs === undefined ? {} : { ttl: msToDuration(ttlMs) };
}
