/**
 * endpoints/sds: Envoy's Secret Discovery Service over the attested socket.
 * Promises: a caller gets what its own entries give and nothing else; it is pushed only what changed; each answer is
 * preceded by a look whether the attested process still lives. Must not know how identities come about.
 */
export type { SdsLimits } from './caller-limits.ts';
export { EnvoyTable, type EnvoyTableOptions } from './envoy-table.ts';
export { createFollowSecrets, type FollowSecretsOptions, type SecretSettings } from './follow-secrets.ts';
export { createSdsEndpoint, type SdsEndpointOptions, type SdsSettings } from './sds-endpoint.ts';
export type { FollowSecrets } from './secret-view.ts';
