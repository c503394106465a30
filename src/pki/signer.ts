import { createPublicKey, generateKeyPair, hash, sign, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { SvidgateError } from '../core/index.ts';
import { childrenOf, contentOf, NULL, objectIdentifier, sequence } from './der.ts';
import { generateKeyPair as generateP256KeyPair, type KeyPair } from './keys.ts';

export const KEY_TYPES = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-4096'] as const;
export type KeyType = (typeof KEY_TYPES)[number];

/** A private key that signs, wherever it is kept. */
export interface Signer {
  readonly type: KeyType;
  readonly publicKey: KeyObject;
  /**
   * Signs the hash of `data`: SHA-384 for ec-p384, SHA-256 for all others. ECDSA signatures are DER (RFC 3279 §2.2.3), RSA
   * ones PKCS#1 v1.5.
   */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** The hash that a key of this type signs. */
export function hashOf(type: KeyType): 'sha256' | 'sha384' {
  return type === 'ec-p384' ? 'sha384' : 'sha256';
}

/** AlgorithmIdentifier of the signatures of each key type (RFC 5758 §3.2, RFC 4055 §5). */
export const SIGNATURE_ALGORITHMS: Readonly<Record<KeyType, Uint8Array>> = {
  'ec-p256': sequence(objectIdentifier('1.2.840.10045.4.3.2')),
  'ec-p384': sequence(objectIdentifier('1.2.840.10045.4.3.3')),
  'rsa-2048': sequence(objectIdentifier('1.2.840.113549.1.1.11'), NULL),
  'rsa-4096': sequence(objectIdentifier('1.2.840.113549.1.1.11'), NULL),
};

const generateAsync = promisify(generateKeyPair);

/** A new key pair. RSA is made on another thread, since it takes up to a second. */
export async function generateKeyPairOf(type: KeyType): Promise<KeyPair> {
  switch (type) {
    case 'ec-p256':
      return generateP256KeyPair();
    case 'ec-p384':
      return await generateAsync('ec', { namedCurve: 'P-384' });
    case 'rsa-2048':
      return await generateAsync('rsa', { modulusLength: 2048 });
    case 'rsa-4096':
      return await generateAsync('rsa', { modulusLength: 4096 });
  }
}

/** Signs with a key that is in memory. Throws `invalid_request` when it is of none of our types. */
export function signerFor(privateKey: KeyObject): Signer {
  const publicKey = createPublicKey(privateKey);
  const type = keyTypeOf(publicKey);
  const algorithm = hashOf(type);
  return { type, publicKey, sign: async (data) => sign(algorithm, data, privateKey) };
}

/** Throws `invalid_request` when it is none of ours. */
export function keyTypeOf(key: KeyObject): KeyType {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1') return 'ec-p256';
  if (key.asymmetricKeyType === 'ec' && namedCurve === 'secp384r1') return 'ec-p384';
  if (key.asymmetricKeyType === 'rsa' && modulusLength === 2048) return 'rsa-2048';
  if (key.asymmetricKeyType === 'rsa' && modulusLength === 4096) return 'rsa-4096';
  throw new SvidgateError('invalid_request', 'expected a key on P-256 or P-384, or RSA of 2048 or 4096 bits');
}

/** SubjectPublicKeyInfo in DER. */
export function spkiOf(publicKey: KeyObject): Uint8Array {
  return new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
}

/** Subject key identifier: SHA-1 of the key's bits (RFC 5280 §4.2.1.2, method 1), 20 bytes. No security rests on it. */
export function subjectKeyIdOf(spki: Uint8Array): Buffer {
  const [, bits = new Uint8Array()] = childrenOf(spki);
  return hash('sha1', contentOf(bits).subarray(1), 'buffer');
}
