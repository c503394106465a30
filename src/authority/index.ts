/**
 * authority: signs X.509-SVIDs for the trust domain and rotates the CA that signs them.
 * Promises: an SVID never outlives its CA; a root is published long before it signs; keys are on disk before use.
 * Must not know who asks, entries or protocols.
 */
export { createAuthority, type Authority, type AuthorityOptions } from './authority.ts';
export type { KeyExports, KeyManager, KeyType, SigningKey } from './key-manager.ts';
export type { MintedCa, UpstreamAuthority } from './upstream-authority.ts';
export type { Revocations, RevocationSnapshot } from './revocations.ts';
