/**
 * secrets: what Envoy can be sent that is no SVID: files that are watched, TLS session ticket keys that rotate, and the
 * lists of peers that validation contexts are narrowed to.
 * Promises: a file is read beneath its folder and through no link, never from the data directory; a change that is wrong
 * keeps the last good content; a list of peers that is unknown or empty matches nobody. Must not know Envoy's messages.
 */
export { createPeerLists, type PeerListsOptions, type PeerListSource } from './create-peer-lists.ts';
export { createSecretStore, type ConfiguredSecret, type SecretStoreOptions } from './create-secret-store.ts';
export type { AllowedFolder } from './named-files.ts';
export type { FollowedSecret, SecretContent, SecretStore } from './secret-store.ts';
export type { PeerList, PeerLists } from './peer-lists.ts';
