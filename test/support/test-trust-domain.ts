import type { KeyObject } from 'node:crypto';
import { systemClock, Watchable, type Clock } from '../../src/core/index.ts';
import type { JwtSvidIssuer, SvidIssuer } from '../../src/identity/index.ts';
import {
  generateKeyPairOf,
  privateKeyToPkcs8,
  signCompactJws,
  signerFor,
  spkiOf,
  type KeyPair,
  type KeyType,
} from '../../src/pki/index.ts';
import { parseTrustDomain, trustDomainId, type TrustBundle } from '../../src/spiffe/index.ts';
import { createLeafCertificate, createRootCertificate } from './certificates.ts';

/** A trust domain that lives in memory: a root, a JWT key, and what they sign. */
export interface TestTrustDomain extends SvidIssuer, JwtSvidIssuer {
  readonly bundle: Watchable<TrustBundle>;
  readonly jwtKey: { readonly keyId: string; readonly privateKey: KeyObject };
  /** A token with any claims, signed by the domain's key. */
  signToken(claims: Readonly<Record<string, unknown>>, keyId?: string): Promise<string>;
  /** Adds a root, which signs from now on. */
  rotateRoot(): Promise<void>;
}

const HOUR = 3600_000;

export async function createTestTrustDomain(
  name: string,
  options: { readonly clock?: Clock; readonly jwtKeyType?: KeyType } = {},
): Promise<TestTrustDomain> {
  const { clock = systemClock, jwtKeyType = 'ec-p256' } = options;
  const trustDomain = parseTrustDomain(name);
  const { privateKey, publicKey } = await generateKeyPairOf(jwtKeyType);
  const jwtKey = { keyId: `key-of-${name}`, privateKey };
  const newRoot = async (): Promise<{ readonly certificate: Uint8Array; readonly keyPair: KeyPair }> => {
    const keyPair = await generateKeyPairOf('ec-p256');
    const validity = { notBefore: clock.now() - 10_000, notAfter: clock.now() + 24 * HOUR };
    const request = { uri: trustDomainId(trustDomain), organization: 'Test', keyPair, ...validity };
    return { certificate: (await createRootCertificate(request)).certificate, keyPair };
  };
  let root = await newRoot();
  const bundle = new Watchable<TrustBundle>({
    trustDomain,
    x509Authorities: [root.certificate],
    jwtAuthorities: [{ keyId: jwtKey.keyId, publicKey: spkiOf(publicKey) }],
    sequence: 1,
  });
  const signToken: TestTrustDomain['signToken'] = (claims, keyId = jwtKey.keyId) =>
    signCompactJws(signerFor(privateKey), { keyId, claims });
  return {
    bundle,
    jwtKey,
    signToken,
    async rotateRoot() {
      root = await newRoot();
      const { x509Authorities, sequence } = bundle.value;
      const next = [...x509Authorities, root.certificate];
      bundle.set({ ...bundle.value, x509Authorities: next, sequence: sequence + 1 });
    },
    async issueX509Svid({ spiffeId, ttlMs = HOUR, dnsNames }) {
      const keyPair = await generateKeyPairOf('ec-p256');
      const [notBefore, notAfter] = [clock.now() - 10_000, clock.now() + ttlMs];
      const request = { uri: spiffeId, dnsNames, publicKey: keyPair.publicKey, ca: root, notBefore, notAfter };
      const { certificate, serial } = await createLeafCertificate(request);
      const key = privateKeyToPkcs8(keyPair.privateKey);
      const svid = { spiffeId, certificateChain: [certificate], privateKey: key, serial, authorityId: 'test' };
      return { ...svid, notBefore, notAfter };
    },
    async issueJwtSvid({ spiffeId, audience, ttlMs = 300_000 }) {
      const issuedAt = Math.floor(clock.now() / 1000) * 1000;
      const expiresAt = issuedAt + ttlMs;
      const claims = { sub: spiffeId, aud: audience, iat: issuedAt / 1000, exp: expiresAt / 1000 };
      return { spiffeId, token: await signToken(claims), issuedAt, expiresAt, keyId: jwtKey.keyId };
    },
  };
}
