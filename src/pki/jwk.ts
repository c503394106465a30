import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { SvidgateError } from '../core/index.ts';

/** The public members of a JSON Web Key (RFC 7517, RFC 7518 §6): EC or RSA. */
export type PublicJwk =
  | { readonly kty: 'EC'; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string };

/** P-256, P-384 and P-521. */
const CURVES: ReadonlySet<string | undefined> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

/**
 * SubjectPublicKeyInfo in DER of a JWK: EC on P-256, P-384 or P-521, or RSA of 2048 to 8192 bits. Private members are not
 * looked at. Throws `invalid_request`.
 */
export function publicKeyFromJwk(jwk: Readonly<Record<string, unknown>>): Uint8Array {
  let key: KeyObject;
  try {
    const { kty, crv, x, y, n, e } = jwk;
    key = createPublicKey({ format: 'jwk', key: { kty, crv, x, y, n, e } as JsonWebKey });
  } catch (cause) {
    throw new SvidgateError('invalid_request', 'not a public key that JWK can hold', { cause });
  }
  assertUsable(key);
  return key.export({ type: 'spki', format: 'der' });
}

/** The inverse. Throws `invalid_request` for keys that publicKeyFromJwk refuses. */
export function publicKeyToJwk(spki: Uint8Array): PublicJwk {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new SvidgateError('invalid_request', 'not a SubjectPublicKeyInfo in DER', { cause });
  }
  assertUsable(key);
  return key.export({ format: 'jwk' }) as PublicJwk;
}

function assertUsable(key: KeyObject): void {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
  const usable =
    key.asymmetricKeyType === 'ec'
      ? CURVES.has(namedCurve)
      : key.asymmetricKeyType === 'rsa' && modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS;
  if (!usable) {
    throw new SvidgateError('invalid_request', 'expected a key on P-256, P-384 or P-521, or RSA of 2048 to 8192 bits');
  }
}
