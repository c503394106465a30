import { SvidgateError } from '../../core/index.ts';
import { withUniqueHints, type CallerBundles, type HeldJwtSvid } from '../../identity/index.ts';
import {
  decodeMessage,
  encodeMessage,
  jsonToStruct,
  JwtSvidRequest,
  JwtSvidResponse,
  ValidateJwtSvidRequest,
  ValidateJwtSvidResponse,
  type JsonObject,
} from '../../proto/index.ts';
import {
  parseSpiffeId,
  trustDomainOf,
  verifyJwtSvid,
  type SpiffeId,
  type TrustBundle,
  type TrustDomain,
} from '../../spiffe/index.ts';

const MAX_REQUEST_BYTES = 256 * 1024;
const MAX_AUDIENCES = 100;
const MAX_AUDIENCE_LENGTH = 2048;

/** What FetchJWTSVID was asked for. */
export interface JwtSvidQuestion {
  readonly audience: readonly string[];
  /** All identities of the caller when absent. */
  readonly spiffeId?: SpiffeId;
}

/** Throws `invalid_request` for an audience that is missing, empty or too long, and for what is no SPIFFE ID. */
export function readJwtSvidRequest(bytes: Uint8Array): JwtSvidQuestion {
  const { audience, spiffeId } = decodeMessage(JwtSvidRequest, bytes, MAX_REQUEST_BYTES);
  if (audience.length === 0 || audience.includes('')) throw invalid('audience must be specified');
  if (audience.length > MAX_AUDIENCES) throw invalid(`more than ${MAX_AUDIENCES} audiences`);
  if (audience.some((name) => name.length > MAX_AUDIENCE_LENGTH)) {
    throw invalid(`an audience is longer than ${MAX_AUDIENCE_LENGTH} characters`);
  }
  return spiffeId === '' ? { audience } : { audience, spiffeId: readSpiffeId(spiffeId) };
}

function readSpiffeId(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (cause) {
    throw invalid(`invalid requested SPIFFE ID: ${SvidgateError.from(cause).message}`, cause);
  }
}

export function encodeJwtSvids(held: readonly HeldJwtSvid[]): Uint8Array {
  return encodeMessage(JwtSvidResponse, {
    svids: withUniqueHints(held).map(({ svid, hint = '' }) => ({ spiffeId: svid.spiffeId, svid: svid.token, hint })),
  });
}

/** What ValidateJWTSVID was asked for. */
export interface JwtSvidToCheck {
  readonly audience: string;
  readonly token: string;
}

/** Throws `invalid_request` where one of the two is missing. */
export function readValidateRequest(bytes: Uint8Array): JwtSvidToCheck {
  const { audience, svid } = decodeMessage(ValidateJwtSvidRequest, bytes, MAX_REQUEST_BYTES);
  if (audience === '') throw invalid('audience must be specified');
  if (svid === '') throw invalid('svid must be specified');
  return { audience, token: svid };
}

/** What a check needs to know besides the token. */
export interface JwtSvidTrust {
  readonly bundles: CallerBundles;
  readonly isRevoked: (id: SpiffeId) => boolean;
  /** Epoch milliseconds. */
  readonly now: number;
}

/**
 * Checks a token against the bundles that this caller may trust. Of a foreign token only sub, aud and exp are told: what
 * else stands in it is another domain's word. Throws `jwt_invalid`.
 */
export async function validateJwtSvid({ audience, token }: JwtSvidToCheck, trust: JwtSvidTrust): Promise<Uint8Array> {
  const { bundle, foreignBundles } = trust.bundles;
  const known = new Map<TrustDomain, TrustBundle>(foreignBundles.map((one) => [one.trustDomain, one]));
  known.set(bundle.trustDomain, bundle);
  const verified = await verifyJwtSvid(token, {
    audience: [audience],
    bundles: (trustDomain) => known.get(trustDomain),
    now: trust.now,
  });
  const { spiffeId, claims } = verified;
  if (trust.isRevoked(spiffeId)) throw new SvidgateError('jwt_invalid', 'the SPIFFE ID of the token has been revoked');
  const told = { sub: spiffeId, aud: verified.audience, exp: claims['exp'] as number };
  const isOwn = trustDomainOf(spiffeId) === bundle.trustDomain;
  return encodeMessage(ValidateJwtSvidResponse, {
    spiffeId,
    claims: jsonToStruct(isOwn ? { ...(claims as JsonObject), ...told } : told),
  });
}

function invalid(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('invalid_request', message, { cause });
}
