/** Who a real Envoy says its peer is, with the chain that the peer presented and with the clients that it forwards. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { Secret, unpackAny } from '../../src/proto/index.ts';
import { startGateEnvoy, type GateEnvoy } from '../support/gate-envoy.ts';
import { connect } from '../support/grpc-client.ts';
import { makeOutsideCa } from '../support/outside-ca.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Denies, and shows what was found out. */
const POLICY = `package envoy.authz

allow := {"allowed": false, "body": json.marshal({"peer": input.svidgate.peer, "xfcc": input.svidgate.xfcc})}
`;
const GATEWAY = 'spiffe://example.test/gateway';
const PARTNER = 'spiffe://partner.test/shop';
const CLIENT = 'spiffe://example.test/client';
const CONFIG = `federation: { bundles: ./bundles }
authz:
  listen: unix:./authz.sock
  policies: { default: { path: ./authz.rego } }
  xfcc: { trusted: [${GATEWAY}] }
`;

interface Identity {
  readonly cert: string;
  readonly key: string;
}

interface Shown {
  readonly peer: Readonly<Record<string, unknown>>;
  readonly xfcc: {
    readonly verified: boolean;
    readonly spiffe_id?: string;
    readonly elements: readonly Readonly<Record<string, unknown>>[];
  };
}

function ask(at: GateEnvoy, identity: Identity, xfcc?: string): Promise<Shown> {
  const headers = xfcc === undefined ? {} : { 'x-forwarded-client-cert': xfcc };
  const options = { host: at.address, port: at.strictPort, headers, rejectUnauthorized: false, agent: false };
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, ...identity, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('end', () => {
        try {
          resolve(JSON.parse(text) as Shown);
        } catch {
          reject(new Error(`Envoy answered ${response.statusCode}: ${text}`));
        }
      });
    });
    sent.on('error', reject).end();
  });
}

async function identityOf(server: TestServer, name: string): Promise<Identity> {
  using client = connect(server.socket);
  const [any] = (await client.fetchSecrets([name])).resources;
  assert.ok(any);
  const { tlsCertificate } = unpackAny(Secret, any, 1 << 20);
  const text = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString();
  return {
    cert: text(tlsCertificate?.certificateChain?.inlineBytes),
    key: text(tlsCertificate?.privateKey?.inlineBytes),
  };
}

/** A partner whose bundle has its root alone, and whose services present the CA in between. */
async function makePartner(folder: string): Promise<{ readonly root: string; readonly shop: Identity }> {
  await makeOutsideCa(folder, { name: 'root', extensions: ['subjectAltName=URI:spiffe://partner.test'] });
  await makeOutsideCa(folder, { name: 'middle', issuer: 'root' });
  await makeOutsideCa(folder, {
    name: 'shop',
    issuer: 'middle',
    constraints: 'critical,CA:FALSE',
    usage: 'critical,digitalSignature',
    extensions: [`subjectAltName=URI:${PARTNER}`, 'extendedKeyUsage=serverAuth,clientAuth'],
  });
  const read = (name: string): Promise<string> => readFile(join(folder, name), 'utf8');
  const shop = { cert: `${await read('shop.pem')}${await read('middle.pem')}`, key: await read('shop.key') };
  return { root: await read('root.pem'), shop };
}

const DETAILS = { subject: true, cert: true, chain: true, dns: true, uri: true };

test("a real Envoy's SANITIZE_SET brings the CA between the peer and its root", async () => {
  await using folder = await tempFolder();
  const { root, shop } = await makePartner(folder.path);
  await using server = await startTestServer({
    entries: entriesFor('/envoy', '/gateway'),
    config: CONFIG,
    files: { 'authz.rego': POLICY, 'bundles/partner.test.pem': root },
  });
  await using withChain = await startGateEnvoy(server, {
    forward_client_cert_details: 'SANITIZE_SET',
    set_current_client_cert_details: DETAILS,
  });
  const shown = await waitUntil('Envoy', 20_000, () => ask(withChain, shop));
  assert.equal(shown.peer['spiffe_id'], PARTNER, JSON.stringify(shown));
  assert.equal(shown.xfcc.verified, true);
  assert.equal(shown.xfcc.spiffe_id, PARTNER, 'our own Envoy says what we know');
  const forged = await ask(withChain, shop, `By=${GATEWAY};URI=spiffe://example.test/admin`);
  assert.deepEqual(forged.xfcc, shown.xfcc, 'what the client sends goes with SANITIZE_SET');
  await using without = await startGateEnvoy(server);
  const alone = await waitUntil('Envoy', 20_000, () => ask(without, shop));
  assert.deepEqual(alone.peer, { verified: false, reason: 'intermediate_unknown' });
  assert.deepEqual(alone.xfcc, { verified: false, reason: 'absent', elements: [] });
});

test('of what a real Envoy appends to, the word of a trusted peer counts, and of nobody else', async () => {
  await using server = await startTestServer({
    entries: entriesFor('/envoy', '/gateway', '/other'),
    config: CONFIG,
    files: { 'authz.rego': POLICY, 'bundles/.keep': '' },
  });
  await using envoy = await startGateEnvoy(server, {
    forward_client_cert_details: 'APPEND_FORWARD',
    set_current_client_cert_details: DETAILS,
  });
  const gateway = await identityOf(server, GATEWAY);
  const forwarded = `By=${GATEWAY};Hash=${'a'.repeat(64)};Subject="CN=\\"a, b\\"";URI=${CLIENT}`;
  const { peer, xfcc } = await waitUntil('Envoy', 20_000, () => ask(envoy, gateway, forwarded));
  assert.equal(peer['spiffe_id'], GATEWAY);
  assert.equal(xfcc.verified, true, JSON.stringify(xfcc));
  assert.equal(xfcc.spiffe_id, CLIENT);
  assert.deepEqual(
    xfcc.elements.map((element) => element['spiffe_id']),
    [CLIENT, GATEWAY],
  );
  assert.equal(xfcc.elements[0]?.['subject'], 'CN="a, b"');
  const other = await ask(envoy, await identityOf(server, 'spiffe://example.test/other'), forwarded);
  assert.equal(other.xfcc.verified, false);
  assert.deepEqual(other.xfcc.elements[0], { verified: false, reason: 'writer_mismatch' });
  const self = forwarded.replace(GATEWAY, 'spiffe://example.test/other');
  const { xfcc: written } = await ask(envoy, await identityOf(server, 'spiffe://example.test/other'), self);
  assert.deepEqual(written.elements[0], { verified: false, reason: 'writer_not_trusted' });
});
