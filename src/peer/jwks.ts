import { createPublicKey, type KeyObject } from 'node:crypto';
import { SvidgateError } from '../core/index.ts';
import { publicKeyFromJwk } from '../pki/index.ts';
import { parseUniqueJson, type JwtAlgorithm } from '../spiffe/index.ts';

/** One key of a JWKS that can verify signatures. */
export interface JsonWebKey {
  /** Empty when it has none. */
  readonly keyId: string;
  /** The one algorithm that it is for, when it says so. */
  readonly algorithm: string | undefined;
  readonly publicKey: KeyObject;
}

/** What a JWKS held at one time. Another object means another time. */
export interface KeySet {
  readonly keys: readonly JsonWebKey[];
}

const MAX_KEYS = 100;
const CURVES: Readonly<Record<string, string>> = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' };

/**
 * A JWK Set (RFC 7517 §5) of at most 100 keys. Keys that cannot verify signatures with EC or RSA, such as symmetric or
 * encryption keys, are passed over. A set without any key is one: its issuer trusts none. Throws `invalid_request`.
 */
export function parseJwks(text: string): KeySet {
  let document: unknown;
  try {
    document = parseUniqueJson(text);
  } catch (cause) {
    throw new SvidgateError('invalid_request', 'the key set is not JSON, or has a key of an object twice', { cause });
  }
  const entries = isMap(document) ? document['keys'] : undefined;
  if (!Array.isArray(entries)) throw new SvidgateError('invalid_request', 'the key set has no list `keys`');
  if (entries.length > MAX_KEYS) throw new SvidgateError('too_large', `the key set has more than ${MAX_KEYS} keys`);
  return { keys: entries.flatMap((entry: unknown) => (isMap(entry) ? readKey(entry) : [])) };
}

/**
 * Those that may have signed a token: of its key id and fit for its algorithm. A token without a key id is only for the one
 * key of a set.
 */
export function keysFor(
  { keys }: KeySet,
  token: { readonly keyId: string | undefined; readonly algorithm: JwtAlgorithm },
): readonly JsonWebKey[] {
  const { keyId, algorithm } = token;
  const named =
    keyId === undefined ? keys.slice(0, keys.length === 1 ? 1 : 0) : keys.filter((key) => key.keyId === keyId);
  return named.filter((key) => isFit(key, algorithm));
}

/** An EC key is for one algorithm alone; RSA keys serve all of theirs, unless they say otherwise. */
function isFit({ algorithm, publicKey }: JsonWebKey, wanted: JwtAlgorithm): boolean {
  if (algorithm !== undefined && algorithm !== wanted) return false;
  const curve = CURVES[wanted];
  if (curve === undefined) return publicKey.asymmetricKeyType === 'rsa';
  return publicKey.asymmetricKeyType === 'ec' && publicKey.asymmetricKeyDetails?.namedCurve === curve;
}

function readKey(jwk: Readonly<Record<string, unknown>>): readonly JsonWebKey[] {
  const { kid = '', alg, use = 'sig', key_ops: operations = ['verify'] } = jwk;
  if (typeof kid !== 'string' || (alg !== undefined && typeof alg !== 'string') || use !== 'sig') return [];
  if (!Array.isArray(operations) || !operations.includes('verify')) return [];
  try {
    const spki = Buffer.from(publicKeyFromJwk(jwk));
    return [{ keyId: kid, algorithm: alg, publicKey: createPublicKey({ key: spki, format: 'der', type: 'spki' }) }];
  } catch {
    return [];
  }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
