import { createPublicKey } from 'node:crypto';
import { compactVerify } from 'jose';
import { JwtInvalidError, shown } from './jwt-parts.ts';
import { parseJwtSvid, type UnverifiedJwtSvid } from './parse-jwt-svid.ts';
import { trustDomainOf, type SpiffeId, type TrustDomain } from './spiffe-id.ts';
import type { TrustBundle } from './trust-bundle.ts';

/** A token that was signed by a key of its subject's own trust domain and is for us, now. */
export interface VerifiedJwtSvid {
  readonly spiffeId: SpiffeId;
  /** All that the token names. */
  readonly audience: readonly string[];
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** The `kid` of the key that signed it. */
  readonly keyId: string;
  /** All claims as they stand in the token, these included. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** The claims as they were signed. */
  readonly claimsText: string;
}

export interface JwtSvidVerification {
  /** Names of the one who checks; the token must be for one of them. */
  readonly audience: readonly string[];
  /** The bundle of one trust domain, or undefined when we hold none. Bundles are never merged (JWT-SVID §4). */
  readonly bundles: (trustDomain: TrustDomain) => TrustBundle | undefined;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** Clocks may differ by this much about when a token begins. Its end has no grace (JWT-SVID §3.3). */
const LEEWAY_MS = 60_000;
const MAX_AUDIENCES_SHOWN = 5;

/** Checks a JWT-SVID by JWT-SVID §2 to §4. Throws JwtInvalidError unless every check passes. */
export async function verifyJwtSvid(token: string, verification: JwtSvidVerification): Promise<VerifiedJwtSvid> {
  const unverified = parseJwtSvid(token);
  const { algorithm, keyId, spiffeId, audience, expiresAt, claims, claimsText } = unverified;
  checkTimes(unverified, verification.now);
  if (!verification.audience.some((name) => name !== '' && audience.includes(name))) {
    throw new JwtInvalidError(
      'audience_mismatch',
      `expected audience in ${shownList(verification.audience)} (audience=${shownList(audience)})`,
    );
  }
  const publicKey = keyOf(unverified, verification.bundles);
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
    await compactVerify(token, key, { algorithms: [algorithm] });
  } catch (cause) {
    throw new JwtInvalidError('signature_invalid', 'token signature is not valid', cause);
  }
  return { spiffeId, audience, expiresAt, keyId, claims, claimsText };
}

function checkTimes({ expiresAt, notBefore, issuedAt }: UnverifiedJwtSvid, now: number): void {
  if (expiresAt <= now) throw new JwtInvalidError('expired', 'token has expired');
  if (notBefore !== undefined && notBefore > now + LEEWAY_MS)
    throw new JwtInvalidError('not_yet_valid', 'token is not valid yet');
  if (issuedAt !== undefined && issuedAt > now + LEEWAY_MS)
    throw new JwtInvalidError('not_yet_valid', 'token was issued in the future');
}

function keyOf(token: UnverifiedJwtSvid, bundles: JwtSvidVerification['bundles']): Uint8Array {
  const trustDomain = trustDomainOf(token.spiffeId);
  const authorities = bundles(trustDomain)?.jwtAuthorities ?? [];
  if (authorities.length === 0)
    throw new JwtInvalidError('unknown_trust_domain', `no keys found for trust domain ${shown(trustDomain)}`);
  const found = authorities.find(({ keyId }) => keyId === token.keyId);
  if (found === undefined) {
    throw new JwtInvalidError(
      'unknown_key',
      `public key ${shown(token.keyId)} not found in trust domain ${shown(trustDomain)}`,
    );
  }
  return found.publicKey;
}

function shownList(texts: readonly string[]): string {
  const more = texts.length > MAX_AUDIENCES_SHOWN ? ' …' : '';
  return `[${texts.slice(0, MAX_AUDIENCES_SHOWN).map(shown).join(' ')}${more}]`;
}
