import { SvidgateError } from '../core/index.ts';
import { childrenOf, contentOf } from './der.ts';
import type { KeyType, Signer } from './signer.ts';

/** `alg` of RFC 7518 §3.1 for each key type. */
export const JWS_ALGORITHMS: Readonly<Record<KeyType, 'ES256' | 'ES384' | 'RS256'>> = {
  'ec-p256': 'ES256',
  'ec-p384': 'ES384',
  'rsa-2048': 'RS256',
  'rsa-4096': 'RS256',
};

/** Bytes of r and of s (RFC 7518 §3.4); RSA signatures stay as they are. */
const COORDINATE_BYTES: Readonly<Partial<Record<KeyType, number>>> = { 'ec-p256': 32, 'ec-p384': 48 };

/**
 * A JWS in compact serialisation (RFC 7515 §7.1) with the protected header alg, kid and typ. By hand, since the key may be
 * kept where only a signature can be asked for. Throws what the signer throws.
 */
export async function signCompactJws(
  signer: Signer,
  jws: { readonly keyId: string; readonly claims: Readonly<Record<string, unknown>> },
): Promise<string> {
  const header = { alg: JWS_ALGORITHMS[signer.type], kid: jws.keyId, typ: 'JWT' };
  const content = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(jws.claims))}`;
  const signature = await signer.sign(Buffer.from(content, 'ascii'));
  const size = COORDINATE_BYTES[signer.type];
  const encoded = size === undefined ? signature : joinCoordinates(signature, size);
  return `${content}.${Buffer.from(encoded).toString('base64url')}`;
}

function base64url(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64url');
}

/** An ECDSA signature from DER (RFC 3279 §2.2.3) to r and s side by side. */
function joinCoordinates(der: Uint8Array, size: number): Uint8Array {
  const joined = new Uint8Array(2 * size);
  for (const [index, element] of childrenOf(der).slice(0, 2).entries()) {
    const value = contentOf(element);
    const magnitude = value.subarray(value.findIndex((byte) => byte !== 0));
    if (magnitude.length > size) throw new SvidgateError('key_manager_failed', 'a signature is longer than its curve');
    joined.set(magnitude, (index + 1) * size - magnitude.length);
  }
  return joined;
}
