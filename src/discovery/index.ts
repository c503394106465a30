/**
 * discovery: xDS for attested callers, whatever the resources are: both variants, Fetch, and several types on one stream.
 * Promises: what was sent is not sent again; a slow Envoy is sent the newest, never a queue; each answer is preceded by a
 * look whether the attested process still lives; what has a time to live is renewed while the Envoy answers. Must not know
 * what a resource means.
 */
export type { DiscoveryLimits } from './caller-limits.ts';
export { createDiscoveryEndpoint, type DiscoveryEndpointOptions } from './discovery-endpoint.ts';
export type { UnknownName } from './discovery-session.ts';
export type { StreamResource } from './booked-resource.ts';
export type { StreamStatus } from './envoy-books.ts';
export { isSaidToBeSince, isSince, parseFlag, UNKNOWN_NODE, type EnvoyNode } from './envoy-node.ts';
export { EnvoyTable, type EnvoyTableOptions } from './envoy-table.ts';
export type { ResourceType } from './resource-type.ts';
export type {
  DiscoveryCaller,
  EncodedResource,
  FollowedResources,
  FollowResources,
  ResourceFacts,
  ResourceState,
  ResourceView,
} from './resource-view.ts';
export { serveType, type ServedType } from './serve-type.ts';
export type { ResourceVersion, StreamBooks } from './stream-books.ts';
