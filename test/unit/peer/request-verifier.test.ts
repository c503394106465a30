import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Watchable } from '../../../src/core/index.ts';
import {
  createPeerVerifier,
  createRequestVerifier,
  createXfccVerifier,
  type RequestIdentity,
} from '../../../src/peer/index.ts';
import { generateKeyPair, pemCertificates, pemEncode } from '../../../src/pki/index.ts';
import { parseSpiffeId, parseSpiffeIdPattern, type TrustBundle } from '../../../src/spiffe/index.ts';
import { createLeafCertificate, createRootCertificate, type SigningCa } from '../../support/certificates.ts';
import { makeOutsideCa } from '../../support/outside-ca.ts';
import { TRUST_DOMAIN } from '../../support/svid-fixtures.ts';
import { createTestClock } from '../../support/test-clock.ts';

const HOUR = 3600_000;
const id = (name: string): string => `spiffe://example.test/${name}`;
const [SIDECAR, GATEWAY, EDGE, CLIENT] = [id('orders'), id('gateway'), id('edge'), id('client')];

// What openssl makes during the tests has begun.
const clock = createTestClock(Date.now() + 300_000);
const times = { notBefore: clock.now() - 10_000, notAfter: clock.now() + HOUR, organization: 'svidgate' };

async function createCa(): Promise<SigningCa> {
  const keyPair = generateKeyPair();
  const fields = { ...times, notAfter: clock.now() + 10 * HOUR, uri: 'spiffe://example.test' };
  return { certificate: (await createRootCertificate({ ...fields, keyPair })).certificate, keyPair };
}

interface Leaf {
  readonly certificate: string;
  readonly hash: string;
  readonly serial: string;
}

const encode = (...ders: readonly Uint8Array[]): string =>
  encodeURIComponent(ders.map((der) => pemEncode('CERTIFICATE', der)).join(''));
const hashOf = (der: Uint8Array): string => createHash('sha256').update(der).digest('hex');

async function leafOf(ca: SigningCa, uri: string, more: { readonly notAfter?: number } = {}): Promise<Leaf> {
  const { publicKey } = generateKeyPair();
  const { certificate, serial } = await createLeafCertificate({ ...times, ...more, uri, publicKey, ca });
  return { certificate: encode(certificate), hash: hashOf(certificate), serial };
}

const ca = await createCa();
const otherCa = await createCa();
const gateway = await leafOf(ca, GATEWAY);
const client = await leafOf(ca, CLIENT);

interface Asked {
  readonly xfcc: string;
  /** Whose certificate Envoy passes; default the gateway's. */
  readonly peer?: Leaf;
  readonly principal?: string;
  /** Default: may be written by gateway and edge. */
  readonly trusted?: readonly string[];
  readonly callerIds?: readonly string[] | undefined;
  readonly roots?: readonly SigningCa[];
  readonly revokedIds?: readonly string[];
  readonly revokedSerials?: readonly string[];
}

async function ask(asked: Asked): Promise<RequestIdentity> {
  const { xfcc, peer = gateway, trusted = [GATEWAY, EDGE], roots = [ca], revokedIds = [], revokedSerials = [] } = asked;
  const bundle: TrustBundle = {
    trustDomain: TRUST_DOMAIN,
    x509Authorities: roots.map(({ certificate }) => certificate),
    jwtAuthorities: [],
    sequence: 1,
  };
  const revocations = new Watchable({
    all: [...revokedIds, ...revokedSerials],
    hasSerial: (serial: string) => revokedSerials.includes(serial),
    hasSpiffeId: (text: string) => revokedIds.includes(text),
    hasSerialOf: (_text: string) => false,
  });
  const peers = createPeerVerifier({ bundle: new Watchable(bundle), revocations, clock });
  const verifier = createRequestVerifier({
    peers,
    xfcc: createXfccVerifier({ peers, trusted: trusted.map(parseSpiffeIdPattern) }),
    tokens: { verify: () => Promise.resolve([]) },
  });
  const callerIds = 'callerIds' in asked ? asked.callerIds : [SIDECAR];
  return await verifier.verify(
    {
      certificate: peer.certificate,
      principal: asked.principal ?? '',
      header: (name) => (name === 'x-forwarded-client-cert' ? xfcc : undefined),
      callerIds: callerIds?.map(parseSpiffeId),
      replayBook: 'default',
    },
    100,
  );
}

/** For each element its client, or why not. */
async function clients(asked: Asked): Promise<readonly string[]> {
  const { xfcc } = await ask(asked);
  return xfcc.elements.map((element) => (element.verified ? (element.spiffeId ?? 'no ID') : element.reason));
}

const HASH = 'a'.repeat(64);
const own = `By=${SIDECAR};Hash=${gateway.hash};Subject="";URI=${GATEWAY}`;
const byGateway = `By=${GATEWAY};Hash=${HASH};URI=${CLIENT}`;

const CASES: readonly { readonly name: string; readonly asked: Asked; readonly clients: readonly string[] }[] = [
  { name: 'what a trusted peer forwards', asked: { xfcc: byGateway }, clients: [CLIENT] },
  {
    name: 'what a trusted peer forwards, and our own Envoy after it',
    asked: { xfcc: `${byGateway},${own}` },
    clients: [CLIENT, GATEWAY],
  },
  { name: 'our own Envoy alone, also when nobody is trusted', asked: { xfcc: own, trusted: [] }, clients: [GATEWAY] },
  {
    name: 'two hops that are trusted',
    asked: { xfcc: `By=${EDGE};Hash=${HASH};URI=${CLIENT},By=${GATEWAY};Hash=${HASH};URI=${EDGE}` },
    clients: [CLIENT, EDGE],
  },
  {
    name: 'two hops, the first of which is not trusted',
    asked: {
      xfcc: `By=${EDGE};Hash=${HASH};URI=${CLIENT},By=${GATEWAY};Hash=${HASH};URI=${EDGE}`,
      trusted: [GATEWAY],
    },
    clients: ['writer_not_trusted', EDGE],
  },
  {
    name: 'three hops, with a break in the middle',
    asked: { xfcc: `By=${CLIENT};URI=${id('admin')},By=${id('x')};URI=${CLIENT},${byGateway}`, trusted: [GATEWAY] },
    clients: ['writer_not_verified', 'writer_mismatch', CLIENT],
  },
  { name: 'a peer that is not trusted', asked: { xfcc: byGateway, trusted: [EDGE] }, clients: ['writer_not_trusted'] },
  {
    name: 'trust in all beneath one does not reach beside it',
    asked: { xfcc: byGateway, trusted: [`${GATEWAY}/**`] },
    clients: ['writer_not_trusted'],
  },
  {
    name: 'an element in the name of another',
    asked: { xfcc: `By=${EDGE};URI=${CLIENT}` },
    clients: ['writer_mismatch'],
  },
  { name: 'an element of nobody', asked: { xfcc: `URI=${CLIENT}` }, clients: ['writer_mismatch'] },
  {
    name: 'an element of two writers',
    asked: { xfcc: `By=${GATEWAY};By=${EDGE};URI=${CLIENT}` },
    clients: ['writer_mismatch'],
  },
  {
    name: 'a peer without a certificate',
    asked: { xfcc: byGateway, peer: { ...gateway, certificate: '' }, principal: GATEWAY },
    clients: ['peer_not_verified'],
  },
  {
    name: 'a peer of another CA',
    asked: { xfcc: byGateway, roots: [otherCa] },
    clients: ['peer_not_verified'],
  },
  {
    name: 'a caller that nobody proved',
    asked: { xfcc: byGateway, callerIds: undefined },
    clients: ['peer_not_verified'],
  },
  {
    name: 'our own Envoy, of a certificate that it did not get',
    asked: { xfcc: `By=${SIDECAR};Hash=${HASH};URI=${GATEWAY}` },
    clients: ['writer_mismatch'],
  },
  {
    name: 'our own Envoy, of an identity that the peer does not have',
    asked: { xfcc: `By=${SIDECAR};Hash=${gateway.hash};URI=${id('admin')}` },
    clients: ['writer_mismatch'],
  },
  {
    name: 'a client with two URIs',
    asked: { xfcc: `By=${GATEWAY};URI=${CLIENT};URI=${EDGE}` },
    clients: ['several_uris'],
  },
  { name: 'a client without a SPIFFE ID', asked: { xfcc: `By=${GATEWAY};DNS=c.example` }, clients: ['no ID'] },
  {
    name: 'nobody vouches for what a client without a SPIFFE ID forwards',
    asked: { xfcc: `By=${EDGE};URI=${CLIENT},By=${GATEWAY};DNS=c.example` },
    clients: ['writer_unknown', 'no ID'],
  },
  {
    name: 'a trust domain is no client',
    asked: { xfcc: `By=${GATEWAY};URI=spiffe://example.test` },
    clients: ['no_spiffe_id'],
  },
  {
    name: "the client's certificate with it",
    asked: { xfcc: `By=${GATEWAY};Hash=${client.hash};Cert="${client.certificate}";URI=${CLIENT}` },
    clients: [CLIENT],
  },
  {
    name: "a certificate of somebody else's",
    asked: { xfcc: `By=${GATEWAY};Hash=${client.hash};Cert="${client.certificate}";URI=${id('admin')}` },
    clients: ['principal_mismatch'],
  },
  {
    name: 'the hash of another certificate',
    asked: { xfcc: `By=${GATEWAY};Hash=${gateway.hash};Cert="${client.certificate}";URI=${CLIENT}` },
    clients: ['hash_mismatch'],
  },
  {
    name: 'a certificate of another CA, as a proxy that asks for none forwards it',
    asked: { xfcc: `By=${GATEWAY};Cert="${(await leafOf(otherCa, CLIENT)).certificate}";URI=${CLIENT}` },
    clients: ['intermediate_unknown'],
  },
  {
    name: 'a certificate that has ended',
    asked: {
      xfcc: `By=${GATEWAY};Cert="${(await leafOf(ca, CLIENT, { notAfter: clock.now() - 1000 })).certificate}";URI=${CLIENT}`,
    },
    clients: ['expired'],
  },
  {
    name: 'a certificate that is none',
    asked: { xfcc: `By=${GATEWAY};Cert="x%";URI=${CLIENT}` },
    clients: ['certificate_unreadable'],
  },
  {
    name: 'an element that a URI in a certificate was made to look like',
    asked: { xfcc: `By=${GATEWAY};Hash=${HASH};URI=x,By=${GATEWAY};Hash=${HASH};URI=${id('admin')}` },
    clients: ['ambiguous', 'ambiguous'],
  },
];

for (const { name, asked, clients: expected } of CASES) {
  test(`clients in x-forwarded-client-cert: ${name}`, async () => {
    assert.deepEqual(await clients(asked), expected);
    const { xfcc } = await ask(asked);
    const isVerified = xfcc.elements.every((element) => element.verified);
    assert.equal(xfcc.verified, isVerified, 'the header is verified when each element is');
    if (xfcc.verified) assert.equal(xfcc.spiffeId ?? 'no ID', expected[0], 'it shows the client of the first hop');
  });
}

test('a header that cannot be read, or is not there, says nothing', async () => {
  const shown = async (xfcc: string) => (await ask({ xfcc })).xfcc;
  assert.deepEqual(await shown(''), { verified: false, reason: 'absent', elements: [] });
  for (const xfcc of [`${byGateway},`, `${byGateway};Hash=${HASH}`, 'x', `${byGateway};Subject="`]) {
    assert.deepEqual(await shown(xfcc), { verified: false, reason: 'malformed', elements: [] });
  }
});

test('who is revoked is refused, as the peer and as a client that a trusted hop forwards', async () => {
  const withCert = `By=${GATEWAY};Hash=${client.hash};Cert="${client.certificate}";URI=${CLIENT}`;
  const cases: readonly { readonly asked: Asked; readonly revoked: RequestIdentity['revoked'] }[] = [
    { asked: { xfcc: byGateway }, revoked: undefined },
    { asked: { xfcc: byGateway, revokedIds: [GATEWAY] }, revoked: 'peer_revoked' },
    { asked: { xfcc: byGateway, revokedSerials: [gateway.serial] }, revoked: 'peer_revoked' },
    { asked: { xfcc: byGateway, revokedIds: [CLIENT] }, revoked: 'client_revoked' },
    { asked: { xfcc: `${byGateway},${own}`, revokedIds: [CLIENT] }, revoked: 'client_revoked' },
    { asked: { xfcc: withCert, revokedSerials: [client.serial] }, revoked: 'client_revoked' },
    // A second element in the name of the hop does not hide it.
    { asked: { xfcc: `By=${GATEWAY};URI=x,${byGateway}`, revokedIds: [CLIENT] }, revoked: 'client_revoked' },
    // Whoever nobody vouches for may be named by anybody.
    { asked: { xfcc: byGateway, trusted: [], revokedIds: [CLIENT] }, revoked: undefined },
  ];
  for (const { asked, revoked } of cases) {
    assert.equal((await ask(asked)).revoked, revoked, JSON.stringify(asked));
  }
});

const folder = await mkdtemp(join(tmpdir(), 'svidgate-chain-'));
after(() => rm(folder, { recursive: true, force: true }));

/** A root and two CAs below it, made by openssl, and a leaf of the lowest. */
async function chainOfCas(): Promise<{
  readonly root: Uint8Array;
  readonly middle: Uint8Array;
  readonly low: Uint8Array;
}> {
  await makeOutsideCa(folder, { name: 'root', extensions: ['subjectAltName=URI:spiffe://example.test'] });
  await makeOutsideCa(folder, { name: 'middle', issuer: 'root' });
  await makeOutsideCa(folder, { name: 'low', issuer: 'middle' });
  const uri = `subjectAltName=URI:${CLIENT}`;
  await makeOutsideCa(folder, {
    name: 'leaf',
    issuer: 'low',
    constraints: 'critical,CA:FALSE',
    usage: 'critical,digitalSignature',
    extensions: [uri, 'extendedKeyUsage=serverAuth,clientAuth'],
  });
  const read = async (name: string): Promise<Uint8Array> => {
    const [der] = pemCertificates(await readFile(join(folder, `${name}.pem`), 'utf8'));
    return der ?? new Uint8Array();
  };
  return { root: await read('root'), middle: await read('middle'), low: await read('low') };
}

test("intermediates come from our own Envoy's element, for the leaf that it passes, and count only by their signatures", async () => {
  const { root, middle, low } = await chainOfCas();
  const [der] = pemCertificates(await readFile(join(folder, 'leaf.pem'), 'utf8'));
  assert.ok(der);
  const leaf = { certificate: encode(der), hash: hashOf(der), serial: '' };
  const roots = [{ certificate: root, keyPair: generateKeyPair() }];
  const element = (cert: string, chain: string): string =>
    `By=${SIDECAR};Hash=${leaf.hash};Cert="${cert}";Chain="${chain}";Subject="CN=leaf";URI=${CLIENT}`;
  const peerOf = async (xfcc: string): Promise<string> => {
    const { peer } = await ask({ xfcc, peer: leaf, roots });
    return peer.verified ? peer.spiffeId : peer.reason;
  };
  const full = encode(der, low, middle);
  assert.equal(await peerOf(element(leaf.certificate, full)), CLIENT);
  assert.equal(
    await peerOf(`${byGateway},${element(leaf.certificate, full)}`),
    CLIENT,
    'the last element is the own one',
  );
  assert.equal(await peerOf(element(leaf.certificate, encode(middle, low))), CLIENT, 'in any order');
  const refused: readonly (readonly [name: string, xfcc: string])[] = [
    ['no header', ''],
    ['no chain', `By=${SIDECAR};Hash=${leaf.hash};Cert="${leaf.certificate}";URI=${CLIENT}`],
    ['no leaf beside the chain', `By=${SIDECAR};Hash=${leaf.hash};Chain="${full}";URI=${CLIENT}`],
    ['another leaf', element(client.certificate, full)],
    ['the element is not the last', `${element(leaf.certificate, full)},${byGateway}`],
    ['a gap', element(leaf.certificate, encode(der, low))],
    ['a chain that cannot be read', element(leaf.certificate, `${full}%`)],
    ['a chain of strangers', element(leaf.certificate, encode(der, otherCa.certificate))],
    ['a chain that is too long', element(leaf.certificate, encode(...Array.from({ length: 9 }, () => low), middle))],
  ];
  for (const [name, xfcc] of refused) assert.equal(await peerOf(xfcc), 'intermediate_unknown', name);
  assert.equal((await ask({ xfcc: element(leaf.certificate, full), peer: leaf })).peer.verified, false, 'another root');
});
