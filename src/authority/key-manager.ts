import type { KeyType, Signer } from '../pki/index.ts';

export type { KeyType } from '../pki/index.ts';

/** A private key that stays where it is kept. Signing throws `key_manager_failed`. */
export interface SigningKey extends Signer {
  /** The name it was made under. */
  readonly id: string;
}

/**
 * Keeps the private keys of the authority. The same contract suite runs against every implementation
 * (test/support/key-manager-contract.ts). Each function throws `key_manager_failed` when the keys cannot be reached.
 */
export interface KeyManager {
  /** Whether its keys are there again after a restart. */
  readonly isPersistent: boolean;
  /** Makes a key. The id has 1 to 64 letters, digits, `-` or `_`; one that exists is replaced. On return the key is kept for good. */
  generate(id: string, type: KeyType): Promise<SigningKey>;
  /** The key, or undefined when there is none of that id. */
  find(id: string): Promise<SigningKey | undefined>;
  /** Ids of all keys, in no order. Only keys that this trust domain's svidgate made. */
  list(): Promise<readonly string[]>;
  /** Removes the key; nothing happens when there is none. */
  remove(id: string): Promise<void>;
  /** For backups; absent where keys never leave their keeper. */
  readonly exports?: KeyExports;
  close(): Promise<void>;
}

/** What a key manager offers whose keys can be taken along. */
export interface KeyExports {
  /** PKCS#8 in DER. Throws `key_manager_failed` when there is no such key. */
  exportKey(id: string): Promise<Uint8Array>;
  /** Keeps a key that was exported; one of the same id is replaced. */
  importKey(id: string, pkcs8: Uint8Array): Promise<SigningKey>;
}
