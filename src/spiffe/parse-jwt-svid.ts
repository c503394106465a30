import { SvidgateError } from '../core/index.ts';
import { parseSpiffeId, pathOf, type SpiffeId } from './spiffe-id.ts';
import { parseUniqueJson } from './unique-json.ts';

/** Signature algorithms of JWT-SVID §2.1. */
export type JwtSvidAlgorithm = (typeof ALGORITHMS)[number];

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512'] as const;

/** What a token says of itself. Nothing of it is proven. */
export interface UnverifiedJwtSvid {
  readonly algorithm: JwtSvidAlgorithm;
  readonly keyId: string;
  readonly spiffeId: SpiffeId;
  /** At least one. */
  readonly audience: readonly string[];
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** Epoch milliseconds. */
  readonly issuedAt: number | undefined;
  /** Epoch milliseconds. */
  readonly notBefore: number | undefined;
  /** All claims as they stand in the token. */
  readonly claims: Readonly<Record<string, unknown>>;
}

type JsonMap = Readonly<Record<string, unknown>>;

const MAX_TOKEN_LENGTH = 16 * 1024;
const MAX_SHOWN_LENGTH = 128;
const HEADER_PARAMETERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'JWT', 'JOSE']);

/**
 * Takes a token of at most 16 KiB apart by JWT-SVID §2 and §3: compact JWS in canonical base64url, a header of alg, kid and
 * typ alone, the claims sub, aud and exp. Throws `jwt_invalid`; the text never quotes the token as a whole.
 */
export function parseJwtSvid(token: string): UnverifiedJwtSvid {
  if (token.length > MAX_TOKEN_LENGTH) throw jwtInvalid(`token is longer than ${MAX_TOKEN_LENGTH} bytes`);
  const [header, claims, signature, ...more] = token.split('.');
  if (header === undefined || claims === undefined || signature === undefined || more.length > 0) {
    throw jwtInvalid('token is not a JWS in compact serialisation');
  }
  if (decodeBase64Url(signature).length === 0) throw jwtInvalid('token has no signature');
  return { ...readHeader(readJson(header, 'header')), ...readClaims(readJson(claims, 'payload')) };
}

export function jwtInvalid(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('jwt_invalid', message, { cause });
}

/** A text of the token for a message, in quotes and cut. */
export function shown(text: string): string {
  return JSON.stringify(text.slice(0, MAX_SHOWN_LENGTH));
}

function readHeader(header: JsonMap): Pick<UnverifiedJwtSvid, 'algorithm' | 'keyId'> {
  const unknown = Object.keys(header).find((name) => !HEADER_PARAMETERS.has(name));
  if (unknown !== undefined) throw jwtInvalid(`token header has the parameter ${shown(unknown)}, which is not allowed`);
  const { alg, kid, typ } = header;
  const algorithm = ALGORITHMS.find((allowed) => allowed === alg);
  if (algorithm === undefined) throw jwtInvalid(`token header algorithm is not one of ${ALGORITHMS.join(', ')}`);
  if (!TYPES.has(typ)) throw jwtInvalid('token header type is neither JWT nor JOSE');
  if (typeof kid !== 'string' || kid === '') throw jwtInvalid('token header missing key id');
  return { algorithm, keyId: kid };
}

function readClaims(claims: JsonMap): Omit<UnverifiedJwtSvid, 'algorithm' | 'keyId'> {
  const expiresAt = readTime(claims, 'exp');
  if (expiresAt === undefined) throw jwtInvalid('token missing exp claim');
  return {
    spiffeId: readSubject(claims['sub']),
    audience: readAudience(claims['aud']),
    expiresAt,
    issuedAt: readTime(claims, 'iat'),
    notBefore: readTime(claims, 'nbf'),
    claims,
  };
}

function readSubject(subject: unknown): SpiffeId {
  if (subject === undefined || subject === '') throw jwtInvalid('token missing subject claim');
  if (typeof subject !== 'string') throw jwtInvalid('token subject claim is no text');
  let id: SpiffeId;
  try {
    id = parseSpiffeId(subject);
  } catch (cause) {
    throw jwtInvalid(`token subject claim is no SPIFFE ID: ${cause instanceof Error ? cause.message : ''}`, cause);
  }
  if (pathOf(id) === '') throw jwtInvalid('token subject claim names a trust domain: a path is missing');
  return id;
}

/** One text or a list of them (RFC 7519 §4.1.3). */
function readAudience(audience: unknown): readonly string[] {
  const list: unknown = typeof audience === 'string' ? [audience] : audience;
  if (list === undefined || (Array.isArray(list) && list.length === 0))
    throw jwtInvalid('token missing audience claim');
  if (!Array.isArray(list) || !list.every((one) => typeof one === 'string')) {
    throw jwtInvalid('token audience claim is neither a text nor a list of texts');
  }
  return list;
}

/** A NumericDate in milliseconds. */
function readTime(claims: JsonMap, name: 'exp' | 'iat' | 'nbf'): number | undefined {
  const seconds = claims[name];
  if (seconds === undefined) return undefined;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) throw jwtInvalid(`token ${name} claim is no number`);
  return seconds * 1000;
}

function readJson(part: string, what: string): JsonMap {
  let value: unknown;
  try {
    value = parseUniqueJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(decodeBase64Url(part)));
  } catch (cause) {
    if (cause instanceof SvidgateError) throw cause;
    throw jwtInvalid(`token ${what} is not JSON`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw jwtInvalid(`token ${what} is not a JSON object`);
  }
  return value as JsonMap;
}

/** Only the one form that encoding gives: another one would be another token with the same meaning. */
function decodeBase64Url(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  if (bytes.toString('base64url') !== part) throw jwtInvalid('token is not in base64url without padding');
  return bytes;
}
