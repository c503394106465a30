import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { generateKeyPair, pemCertificates, pemEncode } from '../../src/pki/index.ts';
import { Secret, unpackAny } from '../../src/proto/index.ts';
import { createLeafCertificate, createRootCertificate } from '../support/certificates.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { makeOutsideCa } from '../support/outside-ca.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const POLICY = 'package envoy.authz\n\ndefault allow := false\n\nallow if input.svidgate.peer.verified\n';
const PEER = 'spiffe://example.test/peer';
const CONFIG = 'authz:\n  listen: unix:./authz.sock\n  policies: { default: { path: ./authz.rego } }\n';

async function outcomeOf(gate: RawClient, leaf: Uint8Array, principal: string): Promise<string> {
  const source = { certificate: encodeURIComponent(pemEncode('CERTIFICATE', leaf)), principal };
  const http = { method: 'GET', path: '/', host: 'peer' };
  return (await gate.check({ attributes: { source, request: { http } } })).httpResponse ?? '';
}

test('a leaf under our own intermediate is verified at the gate, although Envoy passes on the leaf alone', async () => {
  await using outside = await tempFolder();
  await makeOutsideCa(outside.path, { name: 'root' });
  await makeOutsideCa(outside.path, { name: 'middle', issuer: 'root' });
  const file = (name: string): string => join(outside.path, name);
  await chmod(file('middle.key'), 0o600);
  const upstream = `{ certificate: ${file('middle.pem')}, key: ${file('middle.key')}, bundle: ${file('root.pem')} }`;
  await using server = await startTestServer({
    entries: entriesFor('/peer'),
    config: `authority: { upstream: { disk: ${upstream} } }\n${CONFIG}`,
    files: { 'authz.rego': POLICY },
  });
  using client = connect(server.socket);
  const [any] = (await client.fetchSecrets(['default'])).resources;
  assert.ok(any);
  const { tlsCertificate } = unpackAny(Secret, any, 1 << 20);
  const chain = pemCertificates(Buffer.from(tlsCertificate?.certificateChain?.inlineBytes ?? []).toString());
  assert.equal(chain.length, 3, 'leaf, our CA, and the one above it');
  using gate = connect(server.gate);
  const [leaf = new Uint8Array(), ...above] = chain;
  assert.equal(await outcomeOf(gate, leaf, PEER), 'okResponse');
  await using behind = await startTestServer({
    entries: entriesFor('/peer'),
    config: `identity_source: workload_api\nupstream_workload_socket: ${server.socket.slice('unix:'.length)}\n${CONFIG}`,
    files: { 'authz.rego': POLICY },
  });
  using gateBehind = connect(behind.gate);
  await waitUntil('the agent to be followed', 20_000, async () => {
    return (await outcomeOf(gateBehind, leaf, PEER)) === 'okResponse';
  });
  for (const ca of above) assert.equal(await outcomeOf(gate, ca, PEER), 'deniedResponse', 'a CA is no peer');
});

test('deny_unregistered is about our own trust domain: peers of a foreign one are verified by its bundle', async () => {
  const now = Date.now();
  const times = { notBefore: now - 10_000, notAfter: now + 3_600_000 };
  const keyPair = generateKeyPair();
  const { certificate } = await createRootCertificate({
    ...times,
    uri: 'spiffe://partner.test',
    organization: 'Partner',
    keyPair,
  });
  const leafFor = async (uri: string): Promise<Uint8Array> => {
    const { publicKey } = generateKeyPair();
    const ca = { certificate, keyPair };
    return (await createLeafCertificate({ ...times, uri, organization: 'Partner', publicKey, ca })).certificate;
  };
  await using server = await startTestServer({
    entries: entriesFor('/caller'),
    config: `federation: { bundles: ./bundles }\n${CONFIG}  deny_unregistered: true\n`,
    files: { 'authz.rego': POLICY, 'bundles/partner.test.pem': pemEncode('CERTIFICATE', certificate) },
  });
  using gate = connect(server.gate);
  const partner = 'spiffe://partner.test/shop';
  assert.equal(await outcomeOf(gate, await leafFor(partner), partner), 'okResponse');
  assert.equal(
    await outcomeOf(gate, await leafFor(PEER), PEER),
    'deniedResponse',
    'a partner vouches for its own only',
  );
});
