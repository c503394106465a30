import { verify, type KeyObject } from 'node:crypto';
import type { KeyType } from '../key-manager.ts';

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

export const KEY_TYPES = Object.keys(KEY_ALGORITHMS) as readonly KeyType[];

/** The type of a public or private key, or undefined when it is none of ours. */
export function keyTypeOf(key: KeyObject): KeyType | undefined {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  return KEY_TYPES.find((type) => {
    const algorithm = KEY_ALGORITHMS[type];
    if (algorithm.family !== key.asymmetricKeyType) return false;
    return algorithm.family === 'ec' ? algorithm.curve === namedCurve : algorithm.bits === modulusLength;
  });
}

/** Whether `signature` is what SigningKey.sign gives for `data`. */
export function isSignatureOf(
  key: { readonly type: KeyType; readonly publicKey: KeyObject },
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  return verify(KEY_ALGORITHMS[key.type].hash, data, key.publicKey, signature);
}
