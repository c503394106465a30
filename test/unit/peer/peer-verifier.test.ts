import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Watchable } from '../../../src/core/index.ts';
import { createPeerVerifier, type PresentedPeer } from '../../../src/peer/index.ts';
import { generateKeyPair, pemEncode } from '../../../src/pki/index.ts';
import { parseSpiffeId, parseTrustDomain, type ForeignBundles, type TrustBundle } from '../../../src/spiffe/index.ts';
import { createLeafCertificate, createRootCertificate, type SigningCa } from '../../support/certificates.ts';
import { forgeAround } from '../../support/forged-certificate.ts';
import { TRUST_DOMAIN } from '../../support/svid-fixtures.ts';
import { createTestClock } from '../../support/test-clock.ts';

const HOUR = 3600_000;
const WEB = 'spiffe://example.test/web';
const clock = createTestClock();
const times = { notBefore: clock.now() - 10_000, notAfter: clock.now() + HOUR, organization: 'svidgate' };

async function createCa(uri = 'spiffe://example.test'): Promise<SigningCa> {
  const keyPair = generateKeyPair();
  const { certificate } = await createRootCertificate({ ...times, notAfter: clock.now() + 10 * HOUR, uri, keyPair });
  return { certificate, keyPair };
}

/** As Envoy writes it into `source.certificate`. */
const encode = (der: Uint8Array): string => encodeURIComponent(pemEncode('CERTIFICATE', der));

async function leaf(
  ca: SigningCa,
  fields: { readonly uri?: string; readonly notBefore?: number; readonly notAfter?: number } = {},
) {
  const { publicKey } = generateKeyPair();
  return createLeafCertificate({ ...times, uri: WEB, publicKey, ca, ...fields });
}

const ca = await createCa();
const otherCa = await createCa();
const bundleOf = (...roots: readonly SigningCa[]): TrustBundle => ({
  trustDomain: TRUST_DOMAIN,
  x509Authorities: roots.map(({ certificate }) => certificate),
  jwtAuthorities: [],
  sequence: 1,
});

function verifier(bundle = new Watchable(bundleOf(ca))) {
  return createPeerVerifier({ bundle, clock });
}

test('a living SVID of our own bundle is verified, with its serial', async () => {
  const { certificate, serial } = await leaf(ca);
  const expected = { verified: true, spiffeId: parseSpiffeId(WEB), serial };
  const peers = verifier();
  assert.deepEqual(peers.verify({ certificate: encode(certificate), principal: WEB }), expected);
  assert.deepEqual(peers.verify({ certificate: encode(certificate), principal: '' }), expected);
});

const refusals = [
  { reason: 'no_certificate', certificate: () => Promise.resolve('') },
  { reason: 'certificate_unreadable', certificate: () => Promise.resolve('%') },
  { reason: 'certificate_unreadable', certificate: () => Promise.resolve('hello') },
  { reason: 'certificate_unreadable', certificate: async () => encode((await leaf(ca)).certificate).repeat(2) },
  {
    reason: 'certificate_unreadable',
    certificate: async () =>
      `${encode((await leaf(ca)).certificate)}-----BEGIN CERTIFICATE-----%01-----END CERTIFICATE-----`,
  },
  { reason: 'certificate_unreadable', certificate: () => Promise.resolve('a'.repeat(300_000)) },
  { reason: 'intermediate_unknown', certificate: async () => encode((await leaf(otherCa)).certificate) },
  {
    reason: 'expired',
    certificate: async () => encode((await leaf(ca, { notAfter: clock.now() - 1000 })).certificate),
  },
  {
    reason: 'not_yet_valid',
    certificate: async () => encode((await leaf(ca, { notBefore: clock.now() + 5000 })).certificate),
  },
  {
    reason: 'no_spiffe_id',
    certificate: async () => encode((await leaf(ca, { uri: 'https://example.test/web' })).certificate),
  },
  {
    reason: 'no_spiffe_id',
    certificate: async () => encode((await leaf(ca, { uri: 'spiffe://example.test' })).certificate),
  },
  {
    reason: 'unknown_trust_domain',
    certificate: async () => encode((await leaf(ca, { uri: 'spiffe://other.test/web' })).certificate),
  },
  { reason: 'not_a_leaf', certificate: async () => encode((await createCa(WEB)).certificate) },
];

for (const { reason, certificate } of refusals) {
  test(`a peer is not verified: ${reason}`, async () => {
    const presented = { certificate: await certificate(), principal: '' };
    const peers = verifier();
    assert.deepEqual(peers.verify(presented), { verified: false, reason });
    assert.deepEqual(peers.verify(presented), { verified: false, reason }, 'also the second time');
  });
}

for (const uri of [WEB, 'spiffe://example.test/admin']) {
  test(`a self-signed certificate for ${uri} is not verified by the genuine one in its extension`, async () => {
    const { der: forged } = await forgeAround((await leaf(ca)).certificate, uri, times);
    const verdict = verifier().verify({ certificate: encode(forged), principal: uri });
    assert.deepEqual(verdict, { verified: false, reason: 'certificate_unreadable' });
  });
}

test('bytes around a certificate, and PEM in the place of DER, are not verified', async () => {
  const { certificate } = await leaf(ca);
  const pem = Buffer.from(pemEncode('CERTIFICATE', certificate));
  for (const bytes of [Buffer.concat([certificate, Buffer.from([0])]), pem, Buffer.from(pem.toString('base64'))]) {
    const verdict = verifier().verify({ certificate: encode(bytes), principal: WEB });
    assert.deepEqual(verdict, { verified: false, reason: 'certificate_unreadable' });
  }
});

test('a certificate of another ID than Envoy names as principal is not verified', async () => {
  const { certificate } = await leaf(ca);
  const verdict = verifier().verify({ certificate: encode(certificate), principal: 'spiffe://example.test/orders' });
  assert.deepEqual(verdict, { verified: false, reason: 'principal_mismatch' });
});

test('a verdict ends with the bundle it was made under, and with the life of the certificate', async () => {
  const bundle = new Watchable(bundleOf(ca));
  const peers = verifier(bundle);
  const presented = { certificate: encode((await leaf(ca)).certificate), principal: '' };
  assert.equal(peers.verify(presented).verified, true);
  bundle.set({ ...bundleOf(ca), revocationLists: [new Uint8Array(1)], sequence: 2 });
  assert.equal(peers.verify(presented).verified, true);
  bundle.set(bundleOf(otherCa));
  assert.deepEqual(peers.verify(presented), { verified: false, reason: 'intermediate_unknown' });
  bundle.set(bundleOf(otherCa, ca));
  assert.equal(peers.verify(presented).verified, true);
  bundle.set(bundleOf());
  assert.deepEqual(peers.verify(presented), { verified: false, reason: 'unknown_trust_domain' });
  bundle.set(bundleOf(ca));
  assert.equal(peers.verify(presented).verified, true);
  await clock.advance(2 * HOUR);
  assert.deepEqual(peers.verify(presented), { verified: false, reason: 'expired' });
});

test('a bundle of another trust domain proves nothing for ours', async () => {
  const bundle = new Watchable({ ...bundleOf(ca), trustDomain: parseTrustDomain('other.test') });
  const { certificate } = await leaf(ca, { notAfter: clock.now() + HOUR });
  assert.deepEqual(verifier(bundle).verify({ certificate: encode(certificate), principal: '' }), {
    verified: false,
    reason: 'unknown_trust_domain',
  });
});

test('a peer of a foreign trust domain is verified by its own bundle, as long as we hold that', async () => {
  const FOREIGN = parseTrustDomain('other.test');
  const { certificate } = await leaf(otherCa, { uri: 'spiffe://other.test/web' });
  const foreignBundles = new Watchable<ForeignBundles>(
    new Map([[FOREIGN, { ...bundleOf(otherCa), trustDomain: FOREIGN }]]),
  );
  const peers = createPeerVerifier({ bundle: new Watchable(bundleOf(ca)), foreignBundles, clock: createTestClock() });
  const presented = { certificate: encode(certificate), principal: '' };
  assert.equal(peers.verify(presented).verified, true);
  assert.deepEqual(peers.verify({ certificate: encode((await leaf(otherCa)).certificate), principal: '' }), {
    verified: false,
    reason: 'intermediate_unknown',
  });
  foreignBundles.set(new Map());
  assert.deepEqual(peers.verify(presented), { verified: false, reason: 'unknown_trust_domain' });
});

test('what is revoked is told whatever else is presented', async () => {
  const { certificate, serial } = await leaf(ca);
  const other = await leaf(ca);
  const strange = await leaf(otherCa);
  const cases: readonly {
    readonly revoked: { serials?: readonly string[]; ids?: readonly string[]; idsOfSerials?: readonly string[] };
    readonly presented: PresentedPeer;
    readonly isRevoked: boolean;
  }[] = [
    {
      revoked: { serials: [serial] },
      presented: { certificate: encode(certificate), principal: WEB },
      isRevoked: true,
    },
    {
      revoked: { serials: [serial], idsOfSerials: [WEB] },
      presented: { certificate: encode(other.certificate), principal: WEB },
      isRevoked: false,
    },
    {
      revoked: { serials: [serial], idsOfSerials: [WEB] },
      presented: { certificate: '', principal: WEB },
      isRevoked: true,
    },
    {
      revoked: { serials: [serial], idsOfSerials: [WEB] },
      presented: { certificate: '%', principal: WEB },
      isRevoked: true,
    },
    { revoked: { ids: [WEB] }, presented: { certificate: encode(other.certificate), principal: '' }, isRevoked: true },
    {
      revoked: { ids: [WEB] },
      presented: { certificate: encode(strange.certificate), principal: '' },
      isRevoked: true,
    },
    // The reader refuses it, and whose it is it says there.
    {
      revoked: { ids: [WEB] },
      presented: { certificate: encode((await forgeAround(other.certificate, WEB)).der), principal: '' },
      isRevoked: true,
    },
    { revoked: { ids: [WEB] }, presented: { certificate: '%', principal: `${WEB}2` }, isRevoked: true },
    { revoked: {}, presented: { certificate: '%', principal: WEB }, isRevoked: false },
    { revoked: { ids: [WEB] }, presented: { certificate: '', principal: WEB }, isRevoked: true },
    { revoked: { ids: [WEB] }, presented: { certificate: '', principal: `${WEB}2` }, isRevoked: false },
    { revoked: { ids: [WEB] }, presented: { certificate: '', principal: '' }, isRevoked: false },
    { revoked: {}, presented: { certificate: encode(certificate), principal: WEB }, isRevoked: false },
  ];
  for (const { revoked, presented, isRevoked } of cases) {
    const { serials = [], ids = [], idsOfSerials = [] } = revoked;
    const revocations = new Watchable({
      all: [...serials, ...ids],
      hasSerial: (text: string) => serials.includes(text),
      hasSpiffeId: (id: string) => ids.includes(id),
      hasSerialOf: (id: string) => idsOfSerials.includes(id),
    });
    const peers = createPeerVerifier({ bundle: new Watchable(bundleOf(ca)), revocations, clock });
    const shown = JSON.stringify({ revoked, principal: presented.principal });
    assert.equal(peers.isRevoked(presented), isRevoked, shown);
    peers.verify(presented);
    assert.equal(peers.isRevoked(presented), isRevoked, `${shown}, once the certificate is known`);
  }
});
