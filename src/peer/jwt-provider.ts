import type { Clock } from '../core/index.ts';
import { isJwsSignedBy } from '../pki/index.ts';
import {
  JwtInvalidError,
  readAlgorithm,
  readAudienceClaim,
  readJwtParts,
  readTimeClaim,
  type JsonMap,
  type JwtAlgorithm,
} from '../spiffe/index.ts';
import { keysFor, type KeySet } from './jwks.ts';
import type { JwksSource } from './jwks-source.ts';
import type { TokenPlace } from './token-finder.ts';
import { MAX_KEY_CHANGES, TokenRefused, type CheckedToken, type TokenIssuer } from './token-issuer.ts';

export interface JwtProviderOptions {
  readonly name: string;
  readonly place: TokenPlace;
  readonly issuer: string;
  /** The token must be for one of them. */
  readonly audiences: readonly string[];
  readonly algorithms: readonly JwtAlgorithm[];
  /** For each claim its values; one of them must be there, as the claim's text or in its list. */
  readonly requiredClaims: ReadonlyMap<string, readonly string[]>;
  /** By how much clocks may differ. */
  readonly clockSkewMs: number;
  readonly singleUse: boolean;
  readonly keys: Pick<JwksSource, 'keys' | 'renew'>;
  readonly clock: Clock;
}

/** What RFC 7519 §5.1 and RFC 9068 §2.1 name. Other types of the same issuer, such as logout tokens, are for other ends. */
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'jwt', 'at+jwt', 'application/at+jwt']);

/** Keys of one id that fit are few: more would cost signature checks that a stranger asks for. */
const MAX_TRIED = 2;

/** Tokens of an outside issuer, by the keys in its JWKS. */
export function createJwtProvider(options: JwtProviderOptions): TokenIssuer {
  const { name, place, keys, singleUse, clockSkewMs } = options;
  const checkOnce = async (token: string, set: KeySet): Promise<CheckedToken | undefined> => {
    const { header, claims, claimsText } = readJwtParts(token);
    const wanted = readHeader(header, options);
    const times = checkClaims(claims, options);
    const candidates = keysFor(set, wanted).slice(0, MAX_TRIED);
    if (candidates.length === 0) return undefined;
    if (!(await isSignedByOne(token, candidates, wanted.algorithm))) {
      throw new JwtInvalidError('signature_invalid', 'token signature is not valid');
    }
    return {
      provider: name,
      claims,
      claimsText,
      issuedAt: times.issuedAt === undefined ? undefined : times.issuedAt - clockSkewMs,
      refusedFrom: times.expiresAt + clockSkewMs,
      ...(singleUse ? { singleUseOf: name } : {}),
      isCurrent: () => keys.keys === set,
    };
  };
  return {
    place,
    isFor: ({ iss }) => iss === options.issuer,
    async check(token, limitMs) {
      const giveUpAt = performance.now() + limitMs;
      for (let tries = 1; tries <= MAX_KEY_CHANGES; tries += 1) {
        const set = keys.keys;
        const checked = set === undefined ? undefined : await checkOnce(token, set);
        if (checked?.isCurrent() === true) return checked;
        if (checked !== undefined) continue;
        await keys.renew(giveUpAt - performance.now());
        if (keys.keys === set) throw new TokenRefused(set === undefined ? 'keys_unavailable' : 'unknown_key');
      }
      throw new TokenRefused('keys_unavailable');
    },
  };
}

async function isSignedByOne(
  token: string,
  candidates: ReturnType<typeof keysFor>,
  algorithm: JwtAlgorithm,
): Promise<boolean> {
  for (const { publicKey } of candidates) if (await isJwsSignedBy(token, { publicKey, algorithm })) return true;
  return false;
}

/**
 * Keys come from the JWKS alone: what the header says of them, `jwk` and `x5c` included, is not looked at. Extensions that
 * must be understood are not.
 */
function readHeader(
  header: JsonMap,
  { algorithms }: JwtProviderOptions,
): { readonly keyId: string | undefined; readonly algorithm: JwtAlgorithm } {
  const algorithm = readAlgorithm(header, algorithms);
  const { kid, typ } = header;
  const isKnownType = TYPES.has(typeof typ === 'string' ? typ.toLowerCase() : typ);
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64') || !isKnownType) {
    throw new JwtInvalidError('header_not_allowed', 'token header has an extension or a type that is not known');
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) {
    throw new JwtInvalidError('unknown_key', 'token header key id is no text');
  }
  return { keyId: kid, algorithm };
}

function checkClaims(
  claims: JsonMap,
  options: JwtProviderOptions,
): { readonly issuedAt: number | undefined; readonly expiresAt: number } {
  const { issuer, audiences, clockSkewMs, requiredClaims } = options;
  const now = options.clock.now();
  if (claims['iss'] !== issuer) throw new TokenRefused('unknown_issuer');
  const expiresAt = readTimeClaim(claims, 'exp');
  if (expiresAt === undefined) throw new JwtInvalidError('claim_missing', 'token missing exp claim');
  const issuedAt = readTimeClaim(claims, 'iat');
  const notBefore = readTimeClaim(claims, 'nbf');
  if (expiresAt + clockSkewMs <= now) throw new JwtInvalidError('expired', 'token has expired');
  if ([issuedAt, notBefore].some((time) => time !== undefined && time - clockSkewMs > now)) {
    throw new JwtInvalidError('not_yet_valid', 'token is not valid yet');
  }
  const audience = readAudienceClaim(claims);
  if (!audiences.some((one) => audience.includes(one))) {
    throw new JwtInvalidError('audience_mismatch', 'token is for another audience');
  }
  for (const [name, values] of requiredClaims) {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
    const held: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (!values.some((one) => held.includes(one))) throw new TokenRefused('claim_mismatch');
  }
  return { issuedAt, expiresAt };
}
