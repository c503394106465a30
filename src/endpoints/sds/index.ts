/**
 * endpoints/sds: Envoy's Secret Discovery Service over the attested socket.
 * Promises: a caller gets what its own entries give and nothing else. Must not know how identities come about.
 */
export { usesSpiffeValidator } from './envoy-abilities.ts';
export { createFollowSecrets, type FollowSecretsOptions, type SecretSettings } from './follow-secrets.ts';
export { createSecretType, type SecretTypeOptions } from './secret-type.ts';
