import type { KeyObject } from 'node:crypto';

export type KeyType = 'ec-p256' | 'ec-p384' | 'rsa-2048' | 'rsa-4096';

/** A private key that stays where it is kept. */
export interface SigningKey {
  /** The name it was made under. */
  readonly id: string;
  readonly type: KeyType;
  readonly publicKey: KeyObject;
  /**
   * Signs the hash of `data`: SHA-384 for ec-p384, SHA-256 for all others. ECDSA signatures are DER (RFC 3279 §2.2.3), RSA
   * ones PKCS#1 v1.5. Throws `key_manager_failed`.
   */
  sign(data: Uint8Array): Promise<Uint8Array>;
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
