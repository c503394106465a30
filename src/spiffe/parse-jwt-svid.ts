import {
  JWT_ALGORITHMS,
  JwtInvalidError,
  readAlgorithm,
  readAudienceClaim,
  readJwtParts,
  readTimeClaim,
  shown,
  type JsonMap,
  type JwtAlgorithm,
} from './jwt-parts.ts';
import { parseSpiffeId, pathOf, type SpiffeId } from './spiffe-id.ts';

/** What a token says of itself. Nothing of it is proven. */
export interface UnverifiedJwtSvid {
  readonly algorithm: JwtAlgorithm;
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
  readonly claims: JsonMap;
  /** The claims as they were signed. */
  readonly claimsText: string;
}

const HEADER_PARAMETERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'JWT', 'JOSE']);

/**
 * Takes a token of at most 16 KiB apart by JWT-SVID §2 and §3: compact JWS in canonical base64url, a header of alg, kid and
 * typ alone, the claims sub, aud and exp. Throws JwtInvalidError; the text never quotes the token as a whole.
 */
export function parseJwtSvid(token: string): UnverifiedJwtSvid {
  const { header, claims, claimsText } = readJwtParts(token);
  return { ...readHeader(header), ...readClaims(claims), claimsText };
}

function readHeader(header: JsonMap): Pick<UnverifiedJwtSvid, 'algorithm' | 'keyId'> {
  const unknown = Object.keys(header).find((name) => !HEADER_PARAMETERS.has(name));
  if (unknown !== undefined) {
    throw notAllowed(`token header has the parameter ${shown(unknown)}, which is not allowed`);
  }
  const algorithm = readAlgorithm(header, JWT_ALGORITHMS);
  const { kid, typ } = header;
  if (!TYPES.has(typ)) throw notAllowed('token header type is neither JWT nor JOSE');
  if (typeof kid !== 'string' || kid === '') throw new JwtInvalidError('unknown_key', 'token header missing key id');
  return { algorithm, keyId: kid };
}

function readClaims(claims: JsonMap): Omit<UnverifiedJwtSvid, 'algorithm' | 'keyId' | 'claimsText'> {
  const expiresAt = readTimeClaim(claims, 'exp');
  if (expiresAt === undefined) throw new JwtInvalidError('claim_missing', 'token missing exp claim');
  return {
    spiffeId: readSubject(claims['sub']),
    audience: readAudienceClaim(claims),
    expiresAt,
    issuedAt: readTimeClaim(claims, 'iat'),
    notBefore: readTimeClaim(claims, 'nbf'),
    claims,
  };
}

function readSubject(subject: unknown): SpiffeId {
  if (subject === undefined || subject === '')
    throw new JwtInvalidError('claim_missing', 'token missing subject claim');
  if (typeof subject !== 'string') throw new JwtInvalidError('claim_malformed', 'token subject claim is no text');
  let id: SpiffeId;
  try {
    id = parseSpiffeId(subject);
  } catch (cause) {
    throw new JwtInvalidError(
      'claim_malformed',
      `token subject claim is no SPIFFE ID: ${cause instanceof Error ? cause.message : ''}`,
      cause,
    );
  }
  if (pathOf(id) === '')
    throw new JwtInvalidError('claim_malformed', 'token subject claim names a trust domain: a path is missing');
  return id;
}

function notAllowed(message: string): JwtInvalidError {
  return new JwtInvalidError('header_not_allowed', message);
}
