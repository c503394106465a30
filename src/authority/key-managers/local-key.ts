import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { SvidgateError } from '../../core/index.ts';
import { findKeyType, generateKeyPairOf, isSignatureOf, KEY_ALGORITHMS } from '../../pki/index.ts';
import type { KeyType, SigningKey } from '../key-manager.ts';

const signAside = promisify(sign);

/** A new private key. */
export async function generatePrivateKey(type: KeyType): Promise<KeyObject> {
  return (await generateKeyPairOf(type)).privateKey;
}

/** Signs in this process with a key that is one of our types. */
export function localSigningKey(id: string, privateKey: KeyObject): SigningKey {
  const type = findKeyType(privateKey);
  if (type === undefined) throw new SvidgateError('invalid_request', `key ${id} is of a type that is not supported`);
  const { family, hash } = KEY_ALGORITHMS[type];
  return {
    id,
    type,
    publicKey: createPublicKey(privateKey),
    async sign(data) {
      // ECDSA takes less time here than the way to the thread pool and back; RSA takes milliseconds.
      return family === 'ec' ? sign(hash, data, privateKey) : await signAside(hash, data, privateKey);
    },
  };
}

/**
 * Reads a key that came from outside. Throws `invalid_request`, with nothing of the key in message or cause, unless it is
 * PKCS#8 in DER of one of our types whose halves belong together: the public one is in the encoding and not checked by
 * its parser.
 */
export async function importSigningKey(id: string, pkcs8: Uint8Array): Promise<[SigningKey, KeyObject]> {
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
  } catch {
    throw new SvidgateError('invalid_request', `key ${id} is not PKCS#8 in DER`);
  }
  const key = localSigningKey(id, privateKey);
  const probe = Buffer.from('svidgate');
  if (!isSignatureOf(key, probe, await key.sign(probe))) {
    throw new SvidgateError('invalid_request', `the halves of key ${id} do not belong together`);
  }
  return [key, privateKey];
}
