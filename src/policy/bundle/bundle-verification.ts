import { createPublicKey, hash, X509Certificate, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { JWS_ALGORITHMS, SvidgateError } from '../../core/index.ts';
import type { SnapshotSigner } from '../snapshot-source.ts';

/** The algorithms of OPA's signatures. */
export const BUNDLE_ALGORITHMS = JWS_ALGORITHMS;

export type BundleAlgorithm = (typeof BUNDLE_ALGORITHMS)[number];

/** A key whose signatures count, as it is configured. */
export interface PolicyKey {
  readonly name: string;
  /** What signatures call it. */
  readonly id: string;
  /** The one that it is used with, whatever a signature says. */
  readonly algorithm: BundleAlgorithm;
  /** PEM of a public key or a certificate; for HS, the secret as it is. */
  readonly file: string;
}

/** Which signatures a bundle must have. */
export interface VerifyRules {
  /** At least one. With several, the signature says which by its id. */
  readonly keys: readonly PolicyKey[];
  /** What the signature must be for; empty where it says nothing. */
  readonly scope: string;
  /** Patterns of files that need not be signed, as in Go's filepath.Match. */
  readonly excludeFiles: readonly string[];
}

/** The same with the keys. */
export interface BundleVerification extends Omit<VerifyRules, 'keys'> {
  readonly keys: readonly (Omit<PolicyKey, 'file'> & { readonly material: Uint8Array })[];
}

const MIN_RSA_BITS = 2048;
/** RFC 7518 §3.2: no shorter than the hash. */
const MIN_SECRET_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };
const CURVES: Readonly<Record<string, string>> = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' };
const MAX_KEY_BYTES = 64 * 1024;

/** Reads the files of the keys. Throws `file_unreadable`, or `policy_invalid` where one does not fit its algorithm. */
export async function loadVerification({ keys, ...rules }: VerifyRules): Promise<BundleVerification> {
  const loaded = keys.map(async ({ file, ...key }) => {
    const material = await readKey(file);
    const problem = keyProblem(key.algorithm, material);
    if (problem !== undefined) throw new SvidgateError('policy_invalid', `the policy key in ${file} ${problem}`);
    return { ...key, material };
  });
  return { ...rules, keys: await Promise.all(loaded) };
}

/** The same key under other rules is another signer: what it signed was verified otherwise. */
export function signersOf({ keys, scope, excludeFiles }: BundleVerification): readonly SnapshotSigner[] {
  return keys.map(({ name, algorithm, material }) => {
    const key = hash('sha256', material);
    return { name, verifiedBy: hash('sha256', JSON.stringify([algorithm, key, scope, excludeFiles])) };
  });
}

async function readKey(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new SvidgateError('file_unreadable', `${file} cannot be read: ${code}`, { cause: error });
  }
}

function keyProblem(algorithm: BundleAlgorithm, material: Uint8Array): string | undefined {
  const text = new TextDecoder('latin1').decode(material);
  const isPem = text.includes('-----BEGIN ');
  if (material.byteLength > MAX_KEY_BYTES) return `is larger than ${MAX_KEY_BYTES} bytes`;
  const minSecretBytes = MIN_SECRET_BYTES[algorithm];
  if (minSecretBytes !== undefined) {
    // A public key as a secret is what everybody could sign with.
    if (isPem) return `is PEM, which is no secret for ${algorithm}`;
    return material.byteLength < minSecretBytes ? `is shorter than ${minSecretBytes} bytes` : undefined;
  }
  if (/-----BEGIN [A-Z ]*PRIVATE KEY/.test(text)) return 'is a private key, which does not belong here';
  if (text.match(/-----BEGIN /g)?.length !== 1) return 'is not one public key in PEM';
  return publicKeyProblem(algorithm, text);
}

function publicKeyProblem(algorithm: BundleAlgorithm, pem: string): string | undefined {
  let key: KeyObject;
  try {
    key = pem.includes('-----BEGIN CERTIFICATE') ? new X509Certificate(pem).publicKey : createPublicKey(pem);
  } catch {
    return 'is not one public key in PEM';
  }
  const curve = CURVES[algorithm];
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (curve !== undefined) return namedCurve === curve ? undefined : `is not of the curve of ${algorithm}`;
  if (algorithm === 'EdDSA') return key.asymmetricKeyType === 'ed25519' ? undefined : 'is no Ed25519 key';
  if (key.asymmetricKeyType !== 'rsa') return `is no RSA key, which ${algorithm} needs`;
  return modulusLength < MIN_RSA_BITS ? `has fewer than ${MIN_RSA_BITS} bits` : undefined;
}
