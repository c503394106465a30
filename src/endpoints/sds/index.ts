/**
 * endpoints/sds: Envoy's Secret Discovery Service over the attested socket.
 * Promises: a caller gets what its own entries give and nothing else; it is pushed only what changed; each answer is
 * preceded by a look whether the attested process still lives. Must not know how identities come about.
 */
export { createSdsEndpoint, type SdsEndpointOptions } from './sds-endpoint.ts';
export type { SdsSettings } from './secret-stream.ts';
export { StreamTable, type StreamResource, type StreamStatus } from './stream-table.ts';
