import { hash, randomBytes } from 'node:crypto';
import type { Clock } from '../core/index.ts';
import { isSpiffeId, JwtInvalidError, readJwtParts, type JsonMap, type SpiffeId } from '../spiffe/index.ts';
import { BoundedCache } from './bounded-cache.ts';
import { createReplayBooks, type ReplayCache } from './replay-cache.ts';
import { createTokenFinder, type FoundToken, type HeaderReader } from './token-finder.ts';
import { TokenRefused, type CheckedToken, type TokenIssuer, type TokenRefusal } from './token-issuer.ts';

/** What svidgate itself vouches for about one token. */
export type VerifiedToken =
  | {
      readonly verified: true;
      readonly header: string;
      /** The name of the provider, or `jwt_svid`. */
      readonly provider: string;
      readonly claims: JsonMap;
      /** The claims as they were signed. */
      readonly claimsText: string;
      /** JWT-SVIDs only. */
      readonly spiffeId?: SpiffeId;
    }
  | {
      readonly verified: false;
      readonly header: string;
      /** Absent when no provider has its issuer. */
      readonly provider?: string;
      readonly reason: TokenRefusal;
    };

export interface JwtVerifier {
  /**
   * Checks the tokens that a request has where issuers have theirs, each by the issuer that it names. Never rejects. It may
   * wait for keys for `limitMs`. A token for a single use is good for one in each book; their names are a closed set.
   */
  verify(header: HeaderReader, limitMs: number, book: string): Promise<readonly VerifiedToken[]>;
}

export interface JwtVerifierOptions {
  /** By name; of those with one place, the first that a token is for. */
  readonly issuers: ReadonlyMap<string, TokenIssuer>;
  readonly isRevoked: (id: SpiffeId) => boolean;
  readonly clock: Clock;
  readonly replays?: (book: string) => ReplayCache;
}

interface CachedToken {
  readonly checked: CheckedToken;
  readonly checkedAt: number;
  /** Tells it from other tokens without a `jti`; no more than that is kept of it. */
  readonly digest: string;
}

/** Characters of claims; some thousand tokens. */
const MAX_CACHED = 8 * 1024 * 1024;
/** What an entry costs beyond its claims. */
const ENTRY_WEIGHT = 1024;

/**
 * What was verified is kept by a keyed hash of the token until it ends or its keys change; revocation and single use are
 * looked at each time. Nothing is kept of other tokens, or anybody's would push the good ones out.
 */
export function createJwtVerifier(options: JwtVerifierOptions): JwtVerifier {
  const { issuers, clock, isRevoked } = options;
  const replays = options.replays ?? createReplayBooks({ clock });
  const find = createTokenFinder([...issuers.values()].map(({ place }) => place));
  // A secret before the text, since a Hmac costs ten times as much: nobody sees these hashes.
  const secret = randomBytes(32).toString('hex');
  const hashOf = (text: string): string => hash('sha256', secret + text, 'base64');
  const cache = new BoundedCache<CachedToken>(MAX_CACHED);

  const kept = (key: string): CachedToken | undefined => {
    const found = cache.get(key);
    if (found === undefined) return undefined;
    const now = clock.now();
    if (found.checked.isCurrent() && now >= found.checkedAt && now < found.checked.refusedFrom) return found;
    cache.delete(key);
    return undefined;
  };

  const keep = (key: string, token: string, checked: CheckedToken): CachedToken => {
    // Without the signature, which its holder may be able to write in more than one way.
    const digest = hashOf(token.slice(0, token.lastIndexOf('.')));
    const fresh = { checked, checkedAt: clock.now(), digest };
    cache.set(key, fresh, checked.claimsText.length + ENTRY_WEIGHT);
    return fresh;
  };

  /** Throws TokenRefused. */
  const assertUsable = ({ checked, digest }: CachedToken, book: string): void => {
    const { claims, singleUseOf, issuedAt, refusedFrom } = checked;
    const { sub, jti } = claims;
    if (typeof sub === 'string' && isSpiffeId(sub) && isRevoked(sub)) throw new TokenRefused('revoked');
    if (singleUseOf === undefined) return;
    const name = typeof jti === 'string' && jti !== '' ? `jti\0${jti}` : `digest\0${digest}`;
    const id = hashOf(`${singleUseOf}\0${name}`);
    const use = replays(book).use({ id, issuedAt, expiresAt: refusedFrom });
    if (use !== 'first') throw new TokenRefused(REPLAY_REFUSALS[use]);
  };

  const verifyOne = async (found: FoundToken, limitMs: number, book: string): Promise<VerifiedToken> => {
    const { header, prefix, token } = found;
    let provider: string | undefined;
    try {
      const key = hashOf(`${header}\0${prefix}\0${token}`);
      let usable = kept(key);
      if (usable === undefined) {
        const [name, issuer] = issuerOf(found, issuers);
        provider = name;
        usable = keep(key, token, await issuer.check(token, limitMs));
      }
      provider = usable.checked.provider;
      assertUsable(usable, book);
      const { claims, claimsText, spiffeId } = usable.checked;
      return { verified: true, header, provider, claims, claimsText, ...(spiffeId === undefined ? {} : { spiffeId }) };
    } catch (error) {
      const known = provider === undefined ? {} : { provider };
      return { verified: false, header, ...known, reason: refusalOf(error) };
    }
  };

  return {
    async verify(header, limitMs, book) {
      const found = find(header);
      if (found.length === 0) return NO_TOKENS;
      return await Promise.all(found.map((one) => verifyOne(one, limitMs, book)));
    },
  };
}

const NO_TOKENS: readonly VerifiedToken[] = [];

const REPLAY_REFUSALS = { replayed: 'replayed', full: 'replay_cache_full', too_old: 'issued_before_start' } as const;

/** Throws JwtInvalidError or TokenRefused. */
function issuerOf(
  { header, prefix, token }: FoundToken,
  issuers: ReadonlyMap<string, TokenIssuer>,
): readonly [name: string, issuer: TokenIssuer] {
  const { claims } = readJwtParts(token);
  const found = [...issuers].find(
    ([, issuer]) => issuer.place.header === header && issuer.place.prefix === prefix && issuer.isFor(claims),
  );
  if (found === undefined) throw new TokenRefused('unknown_issuer');
  return found;
}

/** A defect is no reason to believe a token. */
function refusalOf(error: unknown): TokenRefusal {
  return error instanceof JwtInvalidError || error instanceof TokenRefused ? error.reason : 'malformed';
}
