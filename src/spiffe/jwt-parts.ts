import { SvidgateError } from '../core/index.ts';
import { parseUniqueJson } from './unique-json.ts';

/** Why a token is not taken. A closed set, fit for metrics and policy input. */
export type JwtRefusal =
  | 'malformed'
  | 'too_large'
  | 'algorithm_not_allowed'
  | 'header_not_allowed'
  | 'claim_missing'
  | 'claim_malformed'
  | 'expired'
  | 'not_yet_valid'
  | 'audience_mismatch'
  | 'unknown_trust_domain'
  | 'unknown_key'
  | 'signature_invalid';

/** A `jwt_invalid` that says why. */
export class JwtInvalidError extends SvidgateError {
  readonly reason: JwtRefusal;

  constructor(reason: JwtRefusal, message: string, cause?: unknown) {
    super('jwt_invalid', message, { cause });
    this.reason = reason;
  }
}

export type JsonMap = Readonly<Record<string, unknown>>;

/** What stands in a JWS in compact serialisation. Nothing of it is proven. */
export interface JwtParts {
  readonly header: JsonMap;
  readonly claims: JsonMap;
  /** The claims as they were signed. */
  readonly claimsText: string;
}

/** Signature algorithms of JWT-SVID §2.1: all of RFC 7518 that need no shared secret. */
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

export const JWT_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
] as const;

const MAX_TOKEN_LENGTH = 16 * 1024;
const MAX_SHOWN_LENGTH = 128;

/**
 * Takes a token of at most 16 KiB apart: JWS in compact serialisation, canonical base64url, header and claims JSON objects
 * without a key twice. Throws JwtInvalidError; the text never quotes the token as a whole.
 */
export function readJwtParts(token: string): JwtParts {
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new JwtInvalidError('too_large', `token is longer than ${MAX_TOKEN_LENGTH} bytes`);
  }
  const [header, claims, signature, ...more] = token.split('.');
  if (header === undefined || claims === undefined || signature === undefined || more.length > 0) {
    throw malformed('token is not a JWS in compact serialisation');
  }
  if (decodeBase64Url(signature).length === 0) throw malformed('token has no signature');
  const claimsText = readText(claims, 'payload');
  return {
    header: readJson(readText(header, 'header'), 'header'),
    claims: readJson(claimsText, 'payload'),
    claimsText,
  };
}

/** A NumericDate (RFC 7519 §2) in milliseconds, or undefined when the claim is not there. Throws JwtInvalidError. */
export function readTimeClaim(claims: JsonMap, name: 'exp' | 'iat' | 'nbf'): number | undefined {
  const seconds = claims[name];
  if (seconds === undefined) return undefined;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) {
    throw new JwtInvalidError('claim_malformed', `token ${name} claim is no number`);
  }
  return seconds * 1000;
}

/** One text or a list of them, at least one (RFC 7519 §4.1.3). Throws JwtInvalidError. */
export function readAudienceClaim({ aud: audience }: JsonMap): readonly string[] {
  const list: unknown = typeof audience === 'string' ? [audience] : audience;
  if (list === undefined || (Array.isArray(list) && list.length === 0)) {
    throw new JwtInvalidError('claim_missing', 'token missing audience claim');
  }
  if (!Array.isArray(list) || !list.every((one) => typeof one === 'string')) {
    throw new JwtInvalidError('claim_malformed', 'token audience claim is neither a text nor a list of texts');
  }
  return list;
}

/** Throws JwtInvalidError unless the header's `alg` is one of those allowed. */
export function readAlgorithm<A extends JwtAlgorithm>({ alg }: JsonMap, allowed: readonly A[]): A {
  const algorithm = allowed.find((one) => one === alg);
  if (algorithm === undefined) {
    throw new JwtInvalidError('algorithm_not_allowed', `token header algorithm is not one of ${allowed.join(', ')}`);
  }
  return algorithm;
}

/** A text of the token for a message, in quotes and cut. */
export function shown(text: string): string {
  return JSON.stringify(text.slice(0, MAX_SHOWN_LENGTH));
}

function malformed(message: string, cause?: unknown): JwtInvalidError {
  return new JwtInvalidError('malformed', message, cause);
}

function readJson(text: string, what: string): JsonMap {
  let value: unknown;
  try {
    value = parseUniqueJson(text);
  } catch (cause) {
    throw malformed(`token ${what} is not JSON`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(`token ${what} is not a JSON object`);
  }
  return value as JsonMap;
}

function readText(part: string, what: string): string {
  const bytes = decodeBase64Url(part);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw malformed(`token ${what} is not JSON`, cause);
  }
}

/** Only the one form that encoding gives: another one would be another token with the same meaning. */
function decodeBase64Url(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  if (bytes.toString('base64url') !== part) throw malformed('token is not in base64url without padding');
  return bytes;
}
