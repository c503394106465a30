import { SvidgateError } from '../core/index.ts';
import {
  parseCertificate,
  pemCertificates,
  pemEncode,
  publicKeyFromJwk,
  publicKeyToJwk,
  type Certificate,
} from '../pki/index.ts';
import type { TrustDomain } from './spiffe-id.ts';
import type { JwtAuthority, TrustBundle } from './trust-bundle.ts';
import { parseUniqueJson } from './unique-json.ts';

const MAX_BUNDLE_LENGTH = 4 * 1024 * 1024;
const MAX_KEYS = 1000;
const MAX_KEY_ID_LENGTH = 1024;

/**
 * A bundle from text: SPIFFE JSON when it starts with `{`, else PEM. Throws `invalid_request` saying what is wrong where.
 */
export function parseBundle(text: string, trustDomain: TrustDomain): TrustBundle {
  if (text.length > MAX_BUNDLE_LENGTH) throw invalid(`bundle is longer than ${MAX_BUNDLE_LENGTH} characters`);
  return text.trimStart().startsWith('{') ? parseSpiffeBundle(text, trustDomain) : parsePemBundle(text, trustDomain);
}

/**
 * A SPIFFE bundle (SPIFFE Trust Domain and Bundle §4): a JWK Set. Keys of an unknown `use` or `kty`, or without `use`, are
 * passed over (§4.2.2); `keys` may be empty, which trusts nobody. Throws `invalid_request`.
 */
export function parseSpiffeBundle(text: string, trustDomain: TrustDomain): TrustBundle {
  const document = asObject(parseJson(text), 'the bundle');
  const { keys } = document;
  if (!Array.isArray(keys)) throw invalid('bundle has no list `keys`');
  if (keys.length > MAX_KEYS) throw invalid(`bundle has more than ${MAX_KEYS} keys`);
  const x509Authorities: Uint8Array[] = [];
  const jwtAuthorities: JwtAuthority[] = [];
  for (const [index, value] of keys.entries()) {
    const place = `\`keys[${index}]\``;
    const key = asObject(value, place);
    if (key['kty'] !== 'EC' && key['kty'] !== 'RSA') continue;
    if (key['use'] === 'x509-svid') x509Authorities.push(...readX509Authority(key, place));
    else if (key['use'] === 'jwt-svid') jwtAuthorities.push(readJwtAuthority(key, place));
  }
  if (new Set(jwtAuthorities.map(({ keyId }) => keyId)).size < jwtAuthorities.length) {
    throw invalid('two JWT keys of the bundle have the same `kid`');
  }
  return {
    trustDomain,
    x509Authorities: withoutDuplicates(x509Authorities),
    jwtAuthorities,
    sequence: readWholeNumber(document, 'spiffe_sequence') ?? 0,
    ...optional('refreshHintSeconds', readWholeNumber(document, 'spiffe_refresh_hint')),
  };
}

/** The X.509 authorities in a text of PEM; at least one CERTIFICATE block, and each a CA. Throws `invalid_request`. */
export function parsePemBundle(text: string, trustDomain: TrustDomain): TrustBundle {
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw invalid('the text holds a private key: a bundle is made of certificates alone');
  }
  const certificates = pemCertificates(text);
  if (certificates.length === 0) throw invalid('expected SPIFFE JSON or at least one PEM block CERTIFICATE');
  if (certificates.length > MAX_KEYS) throw invalid(`bundle has more than ${MAX_KEYS} certificates`);
  const authorities = certificates.map((der, index) => checkAuthority(der, `certificate ${index + 1}`));
  return { trustDomain, x509Authorities: withoutDuplicates(authorities), jwtAuthorities: [], sequence: 0 };
}

/** The X.509 authorities as PEM, one block each. */
export function formatPemBundle(bundle: TrustBundle): string {
  return bundle.x509Authorities.map((der) => pemEncode('CERTIFICATE', der)).join('');
}

/** The bundle as SPIFFE JSON (SPIFFE Trust Domain and Bundle §4), indented. */
export function formatSpiffeBundle(bundle: TrustBundle): string {
  const x509Keys = bundle.x509Authorities.map((der) => ({
    use: 'x509-svid',
    ...publicKeyToJwk(parseCertificate(der).publicKey),
    x5c: [Buffer.from(der).toString('base64')],
  }));
  const jwtKeys = bundle.jwtAuthorities.map((key) => ({ use: 'jwt-svid', ...jwtKey(key) }));
  const document = {
    keys: [...x509Keys, ...jwtKeys],
    spiffe_sequence: bundle.sequence,
    ...optional('spiffe_refresh_hint', bundle.refreshHintSeconds),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/**
 * The JWT authorities as the Workload API gives them (Workload API §6.2.2): a standard JWK Set, without `use` and the
 * bundle's own members, which JWT libraries would stumble over.
 */
export function formatJwtBundle(bundle: TrustBundle): string {
  return JSON.stringify({ keys: bundle.jwtAuthorities.map(jwtKey) });
}

function jwtKey({ keyId, publicKey }: JwtAuthority): Record<string, unknown> {
  return { ...publicKeyToJwk(publicKey), kid: keyId };
}

/** The first of `x5c`; others are passed over, and so is a key without any (X509-SVID §6.2). */
function readX509Authority(key: Readonly<Record<string, unknown>>, place: string): readonly Uint8Array[] {
  const { x5c = [] } = key;
  if (!Array.isArray(x5c)) throw invalid(`${place}.x5c must be a list of certificates`);
  if (x5c.length === 0) return [];
  const [first] = x5c as readonly unknown[];
  if (typeof first !== 'string') throw invalid(`${place}.x5c must be a list of certificates in base64`);
  return [checkAuthority(Buffer.from(first, 'base64'), place)];
}

function readJwtAuthority(key: Readonly<Record<string, unknown>>, place: string): JwtAuthority {
  const { kid } = key;
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KEY_ID_LENGTH) {
    throw invalid(`${place}.kid must be a text of 1 to ${MAX_KEY_ID_LENGTH} characters`);
  }
  try {
    return { keyId: kid, publicKey: publicKeyFromJwk(key) };
  } catch (cause) {
    throw invalid(`${place}: ${cause instanceof Error ? cause.message : 'not a key'}`, cause);
  }
}

function checkAuthority(der: Uint8Array, place: string): Uint8Array {
  let certificate: Certificate;
  try {
    certificate = parseCertificate(der);
  } catch (cause) {
    throw invalid(`${place}: not an X.509 certificate: ${SvidgateError.from(cause).message}`, cause);
  }
  try {
    publicKeyToJwk(certificate.publicKey);
  } catch (cause) {
    throw invalid(`${place}: ${SvidgateError.from(cause).message}`, cause); // it could never be written as SPIFFE JSON
  }
  const { isCa } = certificate;
  if (!isCa) throw invalid(`${place} is not a CA: basicConstraints does not say cA`);
  return new Uint8Array(der);
}

/** Whole and at least 0. Beyond 2^53 - 1, which JSON of 64 bits can hold, the largest number that is exact. */
function readWholeNumber(document: Readonly<Record<string, unknown>>, name: string): number | undefined {
  const value = document[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !(value >= 0) || !Number.isInteger(value)) {
    throw invalid(`\`${name}\` must be a whole number that is not negative`);
  }
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

function parseJson(text: string): unknown {
  try {
    return parseUniqueJson(text);
  } catch (cause) {
    throw invalid(`bundle is not JSON: ${cause instanceof Error ? cause.message : ''}`, cause);
  }
}

function asObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalid(`${what} must be a JSON object`);
}

function optional<Name extends string>(name: Name, value: number | undefined): Partial<Record<Name, number>> {
  return value === undefined ? {} : ({ [name]: value } as Partial<Record<Name, number>>);
}

function withoutDuplicates(certificates: readonly Uint8Array[]): readonly Uint8Array[] {
  const seen = new Set<string>();
  return certificates.filter((der) => {
    const key = Buffer.from(der).toString('base64');
    return !seen.has(key) && seen.add(key);
  });
}

function invalid(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('invalid_request', message, { cause });
}
