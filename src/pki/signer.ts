import { createPublicKey, generateKeyPair, hash, sign, verify, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { SvidgateError } from '../core/index.ts';
import { childrenOf, contentOf, NULL, objectIdentifier, sequence } from './der.ts';
import { generateKeyPair as generateP256KeyPair, type KeyPair } from './keys.ts';

export const KEY_TYPES = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-4096'] as const;
export type KeyType = (typeof KEY_TYPES)[number];

/** The curve as OpenSSL names it, or the bits of the modulus; and the hash that is signed. */
export type KeyAlgorithm =
  | { readonly family: 'ec'; readonly curve: 'prime256v1' | 'secp384r1'; readonly hash: 'sha256' | 'sha384' }
  | { readonly family: 'rsa'; readonly bits: 2048 | 4096; readonly hash: 'sha256' };

/** What each type stands for. */
export const KEY_ALGORITHMS: Readonly<Record<KeyType, KeyAlgorithm>> = {
  'ec-p256': { family: 'ec', curve: 'prime256v1', hash: 'sha256' },
  'ec-p384': { family: 'ec', curve: 'secp384r1', hash: 'sha384' },
  'rsa-2048': { family: 'rsa', bits: 2048, hash: 'sha256' },
  'rsa-4096': { family: 'rsa', bits: 4096, hash: 'sha256' },
};

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
  const { hash: algorithm } = KEY_ALGORITHMS[type];
  return { type, publicKey, sign: async (data) => sign(algorithm, data, privateKey) };
}

/** The type of a public or private key. Throws `invalid_request` when it is none of ours. */
export function keyTypeOf(key: KeyObject): KeyType {
  const type = findKeyType(key);
  if (type !== undefined) return type;
  throw new SvidgateError('invalid_request', 'expected a key on P-256 or P-384, or RSA of 2048 or 4096 bits');
}

/** The same, or undefined when it is none of ours. */
export function findKeyType(key: KeyObject): KeyType | undefined {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  return KEY_TYPES.find((type) => {
    const algorithm = KEY_ALGORITHMS[type];
    if (algorithm.family !== key.asymmetricKeyType) return false;
    return algorithm.family === 'ec' ? algorithm.curve === namedCurve : algorithm.bits === modulusLength;
  });
}

/** Whether `signature` is what Signer.sign gives for `data`. */
export function isSignatureOf(
  key: Pick<Signer, 'type' | 'publicKey'>,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  return verify(KEY_ALGORITHMS[key.type].hash, data, key.publicKey, signature);
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
