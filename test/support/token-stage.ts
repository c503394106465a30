import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { Watchable } from '../../src/core/index.ts';
import { createJwtProvider } from '../../src/peer/jwt-provider.ts';
import { createJwtSvidIssuer } from '../../src/peer/jwt-svid-issuer.ts';
import { createJwtVerifier, type JwtVerifier, type VerifiedToken } from '../../src/peer/jwt-verifier.ts';
import { parseJwks, type KeySet } from '../../src/peer/jwks.ts';
import { createReplayCache } from '../../src/peer/replay-cache.ts';
import type { TokenIssuer } from '../../src/peer/token-issuer.ts';
import { spkiOf } from '../../src/pki/index.ts';
import { parseTrustDomain, type ForeignBundles, type JwtAlgorithm, type TrustBundle } from '../../src/spiffe/index.ts';
import { jwksOf, makeJwtIssuer, signJwt, type JwtIssuer } from './jwt-issuer.ts';
import { TRUST_DOMAIN } from './svid-fixtures.ts';
import { createTestClock, type TestClock } from './test-clock.ts';

const BEARER = { header: 'authorization', prefix: 'Bearer ' };
export const ISSUER = 'https://issuer.test';
export const ec = await makeJwtIssuer('ec');
export const rsa = await makeJwtIssuer('rsa', 'rsa');
export const p384 = await makeJwtIssuer('p384', 'P-384');
/** Another key under the id of the first. */
export const stranger = await makeJwtIssuer('ec');

/** Keys that a test sets; `renew` does what `onRenew` says. */
class Keys {
  keys: KeySet | undefined = parseJwks(jwksOf(ec, rsa, p384));
  renewed = 0;
  onRenew: () => void = () => undefined;

  renew(): Promise<void> {
    this.renewed += 1;
    this.onRenew();
    return Promise.resolve();
  }
}

type Claims = Readonly<Record<string, unknown>>;

/** A verifier of one provider and of JWT-SVIDs, with keys, bundles and a clock that a test sets. */
export interface TokenStage {
  readonly clock: TestClock;
  readonly keys: Keys;
  readonly revoked: Set<string>;
  readonly bundle: Watchable<TrustBundle>;
  readonly foreignBundles: Watchable<ForeignBundles>;
  readonly verifier: JwtVerifier;
  readonly seconds: () => number;
  /** A token of the provider, good for a minute. */
  readonly token: (claims?: Claims, header?: Claims) => Promise<string>;
  readonly svid: (claims?: Claims, key?: JwtIssuer) => Promise<string>;
  readonly verify: (authorization: string) => Promise<readonly VerifiedToken[]>;
  /** The provider, or why not, of the one token. */
  readonly outcome: (token: string) => Promise<string>;
}

export function bundleOf(name: string, ...keys: readonly JwtIssuer[]): TrustBundle {
  const jwtAuthorities = keys.map(({ keyId, privateKey }) => {
    return { keyId, publicKey: spkiOf(createPublicKey(privateKey)) };
  });
  return { trustDomain: parseTrustDomain(name), x509Authorities: [], jwtAuthorities, sequence: 1 };
}

/** The outcome of a good token of the provider. */
export const GOOD = 'verified by provider';

export function tokenStage(
  more: {
    readonly singleUse?: boolean;
    readonly algorithms?: readonly JwtAlgorithm[];
    readonly requiredClaims?: Readonly<Record<string, readonly string[]>>;
    readonly maxTokens?: number;
  } = {},
): TokenStage {
  const { singleUse = false, algorithms = ['RS256', 'ES256'], requiredClaims = {} } = more;
  const clock = createTestClock();
  const keys = new Keys();
  const bundle = new Watchable(bundleOf(TRUST_DOMAIN, ec));
  const foreignBundles = new Watchable<ForeignBundles>(
    new Map([[parseTrustDomain('other.test'), bundleOf('other.test', rsa)]]),
  );
  const revoked = new Set<string>();
  const shared = { place: BEARER, singleUse, clock };
  const issuers = new Map<string, TokenIssuer>([
    [
      'provider',
      createJwtProvider({
        ...shared,
        name: 'provider',
        issuer: ISSUER,
        audiences: ['api', 'other-api'],
        algorithms,
        requiredClaims: new Map(Object.entries(requiredClaims)),
        clockSkewMs: 30_000,
        keys,
      }),
    ],
    ['jwt_svid', createJwtSvidIssuer({ ...shared, audiences: ['orders'], bundle, foreignBundles })],
  ]);
  const replays = createReplayCache({ clock, ...(more.maxTokens === undefined ? {} : { maxTokens: more.maxTokens }) });
  const verifier = createJwtVerifier({ issuers, isRevoked: (id) => revoked.has(id), clock, replays: () => replays });
  const seconds = (): number => Math.floor(clock.now() / 1000);
  const verify: TokenStage['verify'] = (authorization) =>
    verifier.verify((name) => (name === 'authorization' ? authorization : undefined), 100, 'default');
  return {
    clock,
    keys,
    revoked,
    bundle,
    foreignBundles,
    verifier,
    seconds,
    token: (claims = {}, header = {}) =>
      signJwt(ec, { iss: ISSUER, sub: 'me', aud: 'api', iat: seconds(), exp: seconds() + 60, ...claims }, header),
    svid: (claims = {}, key = ec) =>
      signJwt(key, {
        sub: 'spiffe://example.test/web',
        aud: ['orders'],
        iat: seconds(),
        exp: seconds() + 60,
        ...claims,
      }),
    verify,
    async outcome(token) {
      const [only, ...others] = await verify(`Bearer ${token}`);
      assert.ok(only !== undefined && others.length === 0);
      assert.ok(!('claims' in only) || only.verified, 'claims only of a verified token');
      return only.verified ? `verified by ${only.provider}` : only.reason;
    },
  };
}
