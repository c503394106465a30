import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pemCertificates, pemEncode } from '../../src/pki/index.ts';
import { Secret, unpackAny } from '../../src/proto/index.ts';
import { connect } from '../support/grpc-client.ts';
import { makeOutsideCa } from '../support/outside-ca.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';

const POLICY = 'package envoy.authz\n\ndefault allow := false\n\nallow if input.svidgate.peer.verified\n';
const CONFIG = 'authz:\n  listen: unix:./authz.sock\n  policies: { default: { path: ./authz.rego } }\n';

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
  const outcome = async (leaf: Uint8Array): Promise<string> => {
    const certificate = encodeURIComponent(pemEncode('CERTIFICATE', leaf));
    const source = { certificate, principal: 'spiffe://example.test/peer' };
    const http = { method: 'GET', path: '/', host: 'peer' };
    return (await gate.check({ attributes: { source, request: { http } } })).httpResponse ?? '';
  };
  const [leaf = new Uint8Array(), ...above] = chain;
  assert.equal(await outcome(leaf), 'okResponse');
  for (const ca of above) assert.equal(await outcome(ca), 'deniedResponse', 'a CA is no peer');
});
