/** Client certificates for the comparison with Envoy. */
import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { EnvoyPeer } from '../../../src/offload/index.ts';
import { PEER_IDS } from './rule-sets.ts';

export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
  /** As Envoy sees it where it checks certificates. */
  readonly peer: EnvoyPeer;
}

export interface TestCertificates {
  /** In PEM. */
  readonly root: string;
  readonly server: Pick<ClientCertificate, 'cert' | 'key'>;
  readonly clients: Readonly<Record<string, ClientCertificate>>;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY = 24 * 60 * 60_000;
const CN = 'CN=subject';

interface Issuer {
  readonly name: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

export async function makeCertificates(): Promise<TestCertificates> {
  const own: Issuer = { name: 'CN=root', keys: await makeKeys() };
  const stranger: Issuer = { name: 'CN=stranger', keys: await makeKeys() };
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: own.name,
    keys: own.keys,
    signingAlgorithm: ALGORITHM,
    ...times(),
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const [alice = '', bob = '', carol = ''] = PEER_IDS;
  const uri = (...values: readonly string[]): x509.JsonGeneralName[] => values.map((value) => ({ type: 'url', value }));
  const named = {
    alice: makeClient(own, uri(alice)),
    bob: makeClient(own, uri(bob)),
    carol: makeClient(own, [...uri(carol), { type: 'dns', value: 'alice.example.test' }]),
    'alice and bob': makeClient(own, uri(alice, bob)),
    'bob and alice': makeClient(own, uri(bob, alice)),
    'more than alice': makeClient(own, uri(`${alice}/x`)),
    'a name': makeClient(own, [{ type: 'dns', value: 'alice.example.test' }]),
    'a name like an ID': makeClient(own, [{ type: 'dns', value: alice }]),
    nothing: makeClient(own, []),
    'no name at all': makeClient(own, [], { subject: '' }),
    'alice of a stranger': makeClient(stranger, uri(alice), { isVerified: false }),
    'alice and bob of a stranger': makeClient(stranger, uri(alice, bob), { isVerified: false }),
  };
  const clients = await Promise.all(
    Object.entries(named).map(async ([name, made]): Promise<[string, ClientCertificate]> => [name, await made]),
  );
  return {
    root: root.toString('pem'),
    server: await makeClient(own, [{ type: 'dns', value: 'orders.test' }]),
    clients: Object.fromEntries(clients),
  };
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function times(): { readonly notBefore: Date; readonly notAfter: Date } {
  return { notBefore: new Date(Date.now() - DAY), notAfter: new Date(Date.now() + DAY) };
}

async function makeClient(
  issuer: Issuer,
  names: readonly x509.JsonGeneralName[],
  { isVerified = true, subject = CN }: { readonly isVerified?: boolean; readonly subject?: string } = {},
): Promise<ClientCertificate> {
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer.name,
    ...times(),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: issuer.keys.privateKey,
    extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])],
  });
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    cert: certificate.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
    peer: {
      uris: names.flatMap(({ type, value }) => (type === 'url' ? [value] : [])),
      dnsNames: names.flatMap(({ type, value }) => (type === 'dns' ? [value] : [])),
      subject,
      isVerified,
    },
  };
}
