/** Certificates and tokens of everybody who appears in the hunt, made by real authorities; most are no good. */
import 'reflect-metadata';
import { createHash } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { generateKeyPair, pemEncode } from '../../src/pki/index.ts';
import { createLeafCertificate, createRootCertificate, type SigningCa } from '../support/certificates.ts';
import { forgeAround } from '../support/forged-certificate.ts';
import { forgeJwt, makeJwtIssuer, signJwt, type JwtIssuer } from '../support/jwt-issuer.ts';

const HOUR = 3600_000;
export const TOKEN_ISSUER = 'https://issuer.test';
export const AUDIENCE = 'orders';
export const id = (name: string): string => `spiffe://example.test/${name}`;

export interface Credential {
  readonly name: string;
  /** As Envoy passes it. */
  readonly text: string;
  readonly der: Uint8Array;
  /** The one SPIFFE ID in it; absent where there is none, or more. */
  readonly spiffeId?: string;
  /** All URIs in it. */
  readonly uris: readonly string[];
  /** The root that it is good under; absent where it is good under none. */
  readonly root?: string;
  /** Set where it is not one certificate, or one that readers may take for another. */
  readonly isUnreadable?: boolean;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serial: string;
}

export interface Token {
  readonly name: string;
  readonly text: string;
  readonly provider: 'issuer' | 'once' | 'jwt_svid';
  readonly role?: string;
  readonly spiffeId?: string;
  /** The key that it is good under; absent where it is good under none. */
  readonly key?: string;
  /** Of ours, with the grace that its provider has. */
  readonly expiresAt: number;
}

export interface People {
  readonly credentials: ReadonlyMap<string, Credential>;
  readonly tokens: ReadonlyMap<string, Token>;
  /** Own roots and the partner's, in DER. */
  readonly roots: ReadonlyMap<string, Uint8Array>;
  readonly keys: ReadonlyMap<string, JwtIssuer>;
}

interface Ca extends SigningCa {
  readonly name: string;
}

export const pem = (...ders: readonly Uint8Array[]): string =>
  encodeURIComponent(ders.map((der) => pemEncode('CERTIFICATE', der)).join(''));

async function makeCa(name: string, uri: string): Promise<Ca> {
  const keyPair = generateKeyPair();
  const times = { notBefore: Date.now() - 24 * HOUR, notAfter: Date.now() + 48 * HOUR };
  const { certificate } = await createRootCertificate({ ...times, uri, organization: name, keyPair });
  return { name, certificate, keyPair };
}

async function makeLeaf(
  ca: Ca,
  name: string,
  uri: string,
  more: { readonly notBefore?: number; readonly notAfter?: number; readonly isGood?: boolean } = {},
): Promise<Credential> {
  const times = {
    notBefore: more.notBefore ?? Date.now() - 12 * HOUR,
    notAfter: more.notAfter ?? Date.now() + 24 * HOUR,
  };
  const { publicKey } = generateKeyPair();
  const { certificate: der, serial } = await createLeafCertificate({
    ...times,
    uri,
    organization: name,
    publicKey,
    ca,
  });
  const root = more.isGood === false ? {} : { root: ca.name };
  return { name, der, text: pem(der), uris: [uri], spiffeId: uri, serial, ...times, ...root };
}

/** A leaf as no authority of ours makes it. */
async function makeOddLeaf(
  ca: Ca,
  name: string,
  names: readonly x509.JsonGeneralName[],
  more: readonly x509.Extension[] = [],
): Promise<Credential> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const signingKey = ca.keyPair.privateKey.toCryptoKey(algorithm, false, ['sign']);
  const times = { notBefore: Date.now() - 12 * HOUR, notAfter: Date.now() + 24 * HOUR };
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=odd',
    issuer: new x509.X509Certificate(Buffer.from(ca.certificate)).subject,
    notBefore: new Date(times.notBefore),
    notAfter: new Date(times.notAfter),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.SubjectAlternativeNameExtension([...names]),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      ...more,
    ],
  });
  const der = new Uint8Array(certificate.rawData);
  const uris = names.flatMap(({ type, value }) => (type === 'url' ? [value] : []));
  return { name, der, text: pem(der), uris, serial: certificate.serialNumber.replace(/^0+/, ''), ...times };
}

/** What nobody reads. */
function damaged(name: string, text: string, like: Credential): Credential {
  return {
    name,
    text,
    der: new Uint8Array(),
    uris: [],
    serial: '',
    isUnreadable: true,
    notBefore: like.notBefore,
    notAfter: like.notAfter,
  };
}

async function makeCredentials(cas: {
  readonly [name in 'first' | 'second' | 'partner' | 'stranger']: Ca;
}): Promise<readonly Credential[]> {
  const { first, second, partner, stranger } = cas;
  const now = Date.now();
  const alice = await makeLeaf(first, 'alice', id('alice'));
  const { text } = alice;
  const forged = await forgeAround(alice.der, id('alice'));
  return [
    alice,
    await makeLeaf(first, 'alice again', id('alice')),
    ...(await Promise.all(['bob', 'carol', 'mallory', 'gateway'].map((name) => makeLeaf(first, name, id(name))))),
    await makeLeaf(second, 'alice of the second root', id('alice')),
    await makeLeaf(partner, 'shop', 'spiffe://partner.test/shop'),
    await makeLeaf(partner, 'alice of the partner', id('alice'), { isGood: false }),
    await makeLeaf(stranger, 'alice of a stranger', id('alice'), { isGood: false }),
    await makeLeaf(first, 'alice for an hour', id('alice'), { notAfter: now + HOUR }),
    await makeLeaf(first, 'alice expired', id('alice'), { notAfter: now - HOUR }),
    await makeLeaf(first, 'alice tomorrow', id('alice'), { notBefore: now + 6 * HOUR }),
    await makeOddLeaf(first, 'two URIs', [
      { type: 'url', value: id('alice') },
      { type: 'url', value: id('bob') },
    ]),
    await makeOddLeaf(first, 'DNS name only', [{ type: 'dns', value: 'alice.example.test' }]),
    await makeOddLeaf(
      first,
      'a CA',
      [{ type: 'url', value: id('alice') }],
      [new x509.BasicConstraintsExtension(true, 0, true)],
    ),
    await makeOddLeaf(first, 'upper case', [{ type: 'url', value: 'SPIFFE://example.test/alice' }]),
    { ...damaged('forged', pem(forged.der), alice), der: forged.der, uris: [id('alice')] },
    damaged('two in one', pem(alice.der, alice.der), alice),
    damaged('cut off', text.slice(0, text.length >> 1), alice),
    damaged('no PEM', Buffer.from(alice.der).toString('base64'), alice),
    damaged('bad escape', `${text}%zz`, alice),
    damaged('DER as text', encodeURIComponent(Buffer.from(alice.der).toString('latin1')), alice),
    damaged('300 KB', text + 'A'.repeat(300_000), alice),
    damaged('garbage', 'x', alice),
  ];
}

const ONCE_TOKENS = 400;

async function makeTokens(keys: ReadonlyMap<string, JwtIssuer>): Promise<readonly Token[]> {
  const [issuer, next, svids, stranger] = ['issuer', 'next', 'svids', 'stranger'].map((name) => keys.get(name)!);
  const second = Math.floor(Date.now() / 1000);
  const times = { iat: second, exp: second + 20 * 3600 };
  const expiresAt = times.exp * 1000 + 30_000;
  const claims = { iss: TOKEN_ISSUER, aud: 'api', sub: 'me', role: 'admin', ...times };
  const svidClaims = { sub: id('alice'), aud: [AUDIENCE], ...times };
  const good = await signJwt(issuer!, claims);
  const [header = '', payload = '', signature = ''] = good.split('.');
  const otherPayload = Buffer.from(JSON.stringify({ ...claims, role: 'admin', sub: 'root' })).toString('base64url');
  const bad = async (name: string, text: Promise<string> | string): Promise<Token> => {
    return { name, text: await text, provider: 'issuer', expiresAt: 0 };
  };
  const ofIssuer = { provider: 'issuer', role: 'admin', expiresAt } as const;
  const short = second + 3600;
  const once = Array.from({ length: ONCE_TOKENS }, async (_, number): Promise<Token> => {
    // Issued in a second that has not begun: what was issued before the gate began may have been used before.
    const own = { ...claims, iss: `${TOKEN_ISSUER}/once`, jti: `token ${number}`, iat: second + 1 };
    return { ...ofIssuer, name: `once ${number}`, text: await signJwt(issuer!, own), provider: 'once', key: 'issuer' };
  });
  return [
    { ...ofIssuer, name: 'good', text: good, key: 'issuer' },
    { ...ofIssuer, name: 'good by the next key', text: await signJwt(next!, claims), key: 'next' },
    {
      ...ofIssuer,
      name: 'guest',
      text: await signJwt(issuer!, { ...claims, role: 'guest' }),
      role: 'guest',
      key: 'issuer',
    },
    {
      ...ofIssuer,
      name: 'for an hour',
      text: await signJwt(issuer!, { ...claims, exp: short }),
      key: 'issuer',
      expiresAt: short * 1000 + 30_000,
    },
    {
      name: 'svid',
      text: await signJwt(svids!, svidClaims),
      provider: 'jwt_svid',
      spiffeId: id('alice'),
      key: 'svids',
      expiresAt: times.exp * 1000,
    },
    ...(await Promise.all(once)),
    await bad('svid of a stranger', signJwt(stranger!, svidClaims, { kid: 'svids' })),
    await bad('svid for others', signJwt(svids!, { ...svidClaims, aud: ['others'] })),
    await bad('alg none', forgeJwt({ header: { alg: 'none' }, claims })),
    await bad('alg None with a kid', forgeJwt({ header: { alg: 'None', kid: 'issuer' }, claims })),
    await bad(
      'HS256 with the public key',
      forgeJwt({ header: { alg: 'HS256', kid: 'issuer' }, claims }, JSON.stringify(issuer!.jwk)),
    ),
    await bad('unknown kid', signJwt(stranger!, claims, { kid: 'stranger' })),
    await bad('our kid, their key', signJwt(stranger!, claims, { kid: 'issuer' })),
    await bad('other claims', `${header}.${otherPayload}.${signature}`),
    await bad('no signature', `${header}.${payload}.`),
    await bad('expired', signJwt(issuer!, { ...claims, exp: second - 3600 })),
    await bad('for another audience', signJwt(issuer!, { ...claims, aud: 'other' })),
    await bad('of another issuer', signJwt(issuer!, { ...claims, iss: 'https://evil.test' })),
    await bad('no end', signJwt(issuer!, { ...claims, exp: undefined })),
    await bad('crit', signJwt(issuer!, claims, { crit: ['x'], x: true })),
    await bad('huge claims', signJwt(stranger!, { ...claims, more: 'x'.repeat(200_000) }, { kid: 'issuer' })),
    await bad('no token', 'x'),
    await bad('empty', ''),
  ];
}

export async function makePeople(): Promise<People> {
  const own = 'spiffe://example.test';
  const first = await makeCa('first', own);
  const second = await makeCa('second', own);
  const partner = await makeCa('partner', 'spiffe://partner.test');
  const stranger = await makeCa('stranger', own);
  const names = ['issuer', 'next', 'svids', 'stranger'];
  const keys = new Map(await Promise.all(names.map(async (name) => [name, await makeJwtIssuer(name)] as const)));
  const credentials = await makeCredentials({ first, second, partner, stranger });
  const tokens = await makeTokens(keys);
  return {
    credentials: new Map(credentials.map((credential) => [credential.name, credential])),
    tokens: new Map(tokens.map((token) => [token.name, token])),
    roots: new Map([first, second, partner].map(({ name, certificate }) => [name, certificate])),
    keys,
  };
}

export function hashOf({ der }: Credential): string {
  return createHash('sha256').update(der).digest('hex');
}
