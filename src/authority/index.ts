/**
 * authority: signs X.509- and JWT-SVIDs for the trust domain, rotates the CAs and keys that sign them, and revokes.
 * Promises: an SVID never outlives what signed it; what signs was published before; what a crash interrupts has happened
 * or has not.
 * Must not know who asks, entries or protocols.
 */
export { createAuthority, type Authority, type AuthorityName, type AuthorityOptions } from './authority.ts';
export type { BundleAcknowledgements } from './bundle-acknowledgements.ts';
export type { SvidKeyType } from './issue-x509-svid.ts';
export type { AuthorityKind, AuthoritySlotStatus, AuthorityState } from './slot.ts';
export type { JwtSvidRequest, X509SvidRequest } from './svid-issuer.ts';
export { createDiskKeyManager, type DiskKeyManagerOptions } from './key-managers/disk.ts';
export { readEncryptionKey } from './key-managers/encryption-key.ts';
export type { KeyEncryption } from './key-managers/key-file.ts';
export { createVaultTransitKeyManager, type VaultTransitOptions } from './key-managers/vault-transit.ts';
export { createMemoryKeyManager } from './key-managers/memory.ts';
export { createPkcs11KeyManager, type Pkcs11KeyManagerOptions } from './key-managers/pkcs11.ts';
export { readSecret, type SecretSource } from './key-managers/secret-source.ts';
export type { KeyExports, KeyManager, KeyType, SigningKey } from './key-manager.ts';
export type { MintedCa, UpstreamAuthority } from './upstream-authority.ts';
export {
  createRevocations,
  type Revocations,
  type RevocationsOptions,
  type RevocationSnapshot,
} from './revocations.ts';
export { mergeRestoredDocument, type RestoredDocument } from './restored-document.ts';
export { createVaultClient, type VaultClient, type VaultClientOptions } from './vault-client.ts';
export type { VaultAuth } from './vault-login.ts';
export { createDiskUpstream, type DiskUpstreamOptions } from './upstreams/disk-upstream.ts';
export { createVaultPkiUpstream, type VaultPkiUpstreamOptions } from './upstreams/vault-pki-upstream.ts';
export {
  createWorkloadApiSource,
  type NotHeld,
  type WorkloadApiSource,
  type WorkloadApiSourceOptions,
} from './workload-api/workload-api-source.ts';
