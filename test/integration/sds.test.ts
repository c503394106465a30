import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import {
  Secret,
  SECRET_DISCOVERY_SERVICE,
  SECRET_TYPE_URL,
  SpiffeCertValidatorConfig,
  unpackAny,
  type DiscoveryResponse,
} from '../../src/proto/index.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const MAX = 1024 * 1024;
const secretsOf = (response: DiscoveryResponse): readonly Secret[] =>
  response.resources.map((resource) => unpackAny(Secret, resource, MAX));
const namesOf = (response: DiscoveryResponse): readonly string[] => secretsOf(response).map(({ name }) => name);

function leafOf(response: DiscoveryResponse): X509Certificate {
  const tls = secretsOf(response).find((secret) => secret.tlsCertificate !== null)?.tlsCertificate;
  return new X509Certificate(tls?.certificateChain?.inlineBytes ?? '');
}

test('a registered caller gets its SVID with a fitting key, and the bundle that proves it', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a', '/b') });
  using client = connect(server.socket);
  const response = await client.fetchSecrets([]);
  assert.equal(response.typeUrl, SECRET_TYPE_URL);
  assert.deepEqual(
    new Set(namesOf(response)),
    new Set(['spiffe://example.test', 'spiffe://example.test/a', 'spiffe://example.test/b']),
  );
  assert.equal(namesOf(response)[0], 'spiffe://example.test');
  const [bundle, ...svids] = secretsOf(response);
  const validator = bundle?.validationContext?.customValidatorConfig;
  assert.equal(validator?.name, 'envoy.tls.cert_validator.spiffe');
  assert.equal(bundle?.validationContext?.trustedCa, null);
  const { trustDomains } = unpackAny(
    SpiffeCertValidatorConfig,
    validator?.typedConfig ?? assert.fail('no validator'),
    MAX,
  );
  assert.deepEqual(
    trustDomains.map(({ name }) => name),
    ['example.test'],
  );
  const root = new X509Certificate(trustDomains[0]!.trustBundle!.inlineBytes!);
  for (const { name, tlsCertificate } of svids) {
    const leaf = new X509Certificate(tlsCertificate!.certificateChain!.inlineBytes!);
    assert.equal(leaf.subjectAltName, `URI:${name}`);
    assert.ok(leaf.verify(root.publicKey) && leaf.checkIssued(root));
    assert.ok(leaf.checkPrivateKey(createPrivateKey(Buffer.from(tlsCertificate!.privateKey!.inlineBytes!))));
  }
});

test('aliases, IDs and domains are served together, also where spire-agent refuses the pair', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a') });
  using client = connect(server.socket);
  const asked = ['default', 'spiffe://example.test/a', 'ALL', 'ROOTCA', 'spiffe://example.test'];
  assert.deepEqual(namesOf(await client.fetchSecrets(asked)), [
    'ALL',
    'ROOTCA',
    'spiffe://example.test',
    'default',
    'spiffe://example.test/a',
  ]);
});

const refused = [
  { names: ['spiffe://example.test/other'], entries: entriesFor('/a'), code: status.INVALID_ARGUMENT },
  { names: ['default', 'nonsense'], entries: entriesFor('/a'), code: status.INVALID_ARGUMENT },
  { names: ['default'], entries: 'entries: []', code: status.INVALID_ARGUMENT },
  { names: ['ROOTCA'], entries: 'entries: []', code: status.INVALID_ARGUMENT },
  { names: [], entries: 'entries: []', code: status.PERMISSION_DENIED },
];

for (const { names, entries, code } of refused) {
  test(`${JSON.stringify(names)} under ${entries} ends with ${status[code]}, on stream and fetch`, async () => {
    await using server = await startTestServer({ entries });
    using client = connect(server.socket);
    await assert.rejects(client.fetchSecrets(names), { code });
    const stream = client.streamSecrets();
    stream.send({ resourceNames: names });
    await assert.rejects(stream.next(), { code });
  });
}

test('a stream answers names, takes ACKs quietly, and pushes a removed and a new entry', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a') });
  using client = connect(server.socket);
  const stream = client.streamSecrets();
  stream.send({ resourceNames: ['default'], versionInfo: 'from before', responseNonce: 'from before' });
  const first = await stream.next();
  assert.deepEqual(namesOf(first), ['default']);
  stream.ack(first, ['default']);
  stream.ack(first, ['default', 'ROOTCA']);
  const second = await stream.next();
  assert.deepEqual(namesOf(second), ['ROOTCA', 'default']);
  assert.notEqual(second.nonce, first.nonce);
  stream.ack(second, ['default', 'ROOTCA']);

  await server.write('entries.yaml', entriesFor('/changed'));
  const third = await stream.next();
  assert.equal(leafOf(third).subjectAltName, 'URI:spiffe://example.test/changed');
  assert.equal(stream.waiting, 0);
  stream.ack(third, ['default', 'ROOTCA']);

  await server.write('entries.yaml', 'entries: []');
  const end = await stream.ended;
  assert.equal(end.code, status.INVALID_ARGUMENT);
  assert.match(end.details, /not authorized for the requested identities \["ROOTCA" "default"\]/);
});

test('an SVID is rotated on open streams; the bundle stream next to it stays quiet', async () => {
  const entries = JSON.stringify({
    entries: [
      { spiffe_id: 'spiffe://example.test/a', selectors: [`unix:uid:${process.getuid?.()}`], x509_svid_ttl: '4s' },
    ],
  });
  await using server = await startTestServer({ entries });
  using client = connect(server.socket);
  const certificate = client.streamSecrets();
  const bundle = client.streamSecrets();
  certificate.send({ resourceNames: ['default'] });
  bundle.send({ resourceNames: ['ROOTCA'] });
  const roots = await bundle.next();
  bundle.ack(roots, ['ROOTCA']);
  const serials = new Set<string>();
  for (let pushed = 0; pushed < 3; pushed += 1) {
    const response = await certificate.next();
    certificate.ack(response, ['default']);
    serials.add(leafOf(response).serialNumber);
    assert.ok(new Date(leafOf(response).validTo).getTime() > Date.now());
  }
  assert.equal(serials.size, 3);
  assert.equal(bundle.waiting, 0);
});

test('with unknown_name: wait a stream is answered when the entry comes', async () => {
  await using server = await startTestServer({ entries: 'entries: []', config: 'sds: { unknown_name: wait }' });
  using client = connect(server.socket);
  const stream = client.streamSecrets();
  stream.send({ resourceNames: ['default'] });
  await waitUntil('the caller to be attested', 5000, () =>
    server.lines.some(({ message }) => message === 'caller attested'),
  );
  await server.write('entries.yaml', entriesFor('/late'));
  assert.equal(leafOf(await stream.next()).subjectAltName, 'URI:spiffe://example.test/late');
});

test('a caller that stops reading holds back nobody, and finds the newest state when it reads on', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a') });
  using slow = connect(server.socket);
  using quick = connect(server.socket);
  const stalled = slow.streamSecrets();
  stalled.send({ resourceNames: ['default'] });
  const first = await stalled.next();
  stalled.ack(first, ['default']);
  stalled.pause();
  const stream = quick.streamSecrets();
  stream.send({ resourceNames: ['default'] });
  let last = await stream.next();
  for (const path of ['/b', '/c', '/d']) {
    stream.ack(last, ['default']);
    await server.write('entries.yaml', entriesFor(path));
    last = await stream.next();
    assert.equal(leafOf(last).subjectAltName, `URI:spiffe://example.test${path}`);
  }
  stalled.resume();
  await waitUntil('the stalled stream to catch up', 5000, async () => {
    const response = await stalled.next();
    return leafOf(response).subjectAltName === 'URI:spiffe://example.test/d';
  });
});

const garbage = [
  { name: 'bytes that are no message', bytes: Buffer.from([0xff, 0xff, 0xff]), code: status.INVALID_ARGUMENT },
  { name: 'a message of 5 MB', bytes: Buffer.alloc(5_000_000), code: status.RESOURCE_EXHAUSTED },
];

for (const { name, bytes, code } of garbage) {
  test(`${name} ends the stream with ${status[code]} and leaves others alone`, async () => {
    await using server = await startTestServer();
    using client = connect(server.socket);
    using other = connect(server.socket);
    const healthy = other.streamSecrets();
    healthy.send({ resourceNames: ['default'] });
    await healthy.next();
    const stream = client.streamSecrets();
    stream.sendBytes(bytes);
    assert.equal((await stream.ended).code, code);
    await assert.rejects(client.unary(SECRET_DISCOVERY_SERVICE.fetchSecrets.path, bytes), { code });
    healthy.send({ resourceNames: ['nonsense'] });
    assert.deepEqual(namesOf(await other.fetchSecrets(['default'])), ['default']);
  });
}

test('another type URL, ten thousand names and a name of 1 MB are refused with small answers', async () => {
  await using server = await startTestServer();
  using client = connect(server.socket);
  const requests = [
    { typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster', expected: status.INVALID_ARGUMENT },
    {
      resourceNames: Array.from({ length: 10_000 }, (_, index) => `n${index}`),
      expected: status.RESOURCE_EXHAUSTED,
    },
    { resourceNames: ['x'.repeat(900_000)], expected: status.RESOURCE_EXHAUSTED },
  ];
  for (const { expected, ...request } of requests) {
    const stream = client.streamSecrets();
    stream.send(request);
    const { code, details } = await stream.ended;
    assert.equal(code, expected);
    assert.ok(details.length < 300);
  }
});

test('bytes that are not HTTP/2, and a header block of 10 MB, end their own connection only', async () => {
  await using server = await startTestServer();
  using other = connect(server.socket);
  const path = server.socket.slice('unix:'.length);
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  // HEADERS, then CONTINUATION frames that never end: 16 KiB each.
  const frame = (type: number, stream: number): Buffer => {
    const header = Buffer.from([0, 0x40, 0, type, 0, 0, 0, 0, stream]);
    return Buffer.concat([header, Buffer.alloc(0x4000, 0x40)]);
  };
  const flood = Buffer.concat([preface, settings, frame(1, 1), ...Array.from({ length: 640 }, () => frame(9, 1))]);
  for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(4096, 0xff), flood]) {
    const socket = createConnection(path);
    socket.on('error', () => undefined); // reset while we still write
    socket.resume();
    socket.write(bytes);
    await new Promise((resolve) => socket.once('close', resolve));
    assert.deepEqual(namesOf(await other.fetchSecrets(['default'])), ['default']);
  }
});

test('stopping ends open streams with UNAVAILABLE and removes the sockets', async () => {
  const server = await startTestServer();
  using client = connect(server.socket);
  const stream = client.streamSecrets();
  stream.send({ resourceNames: ['default'] });
  await stream.next();
  await server.running.stop('test');
  assert.equal((await stream.ended).code, status.UNAVAILABLE);
  await assert.rejects(readFile(`${server.folder}/api.sock`), { code: 'ENOENT' });
  await server[Symbol.asyncDispose]();
});

test('a refused caller is accounted for: who asked, by which call, and why not', async () => {
  await using server = await startTestServer({ entries: '{"entries": []}' });
  using client = connect(server.socket);
  await assert.rejects(client.fetchSecrets(['default']));
  const stream = client.streamSecrets();
  stream.send({ resourceNames: [] });
  await stream.ended;
  const lines = (await readFile(join(server.folder, 'data/audit/audit.jsonl'), 'utf8')).trim().split('\n');
  const refused = lines
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event }) => event === 'call_refused');
  assert.deepEqual(
    refused.map(({ method, caller_pid, result }) => [method, caller_pid, result]),
    [
      ['FetchSecrets', process.pid, 'failure'],
      ['StreamSecrets', process.pid, 'failure'],
    ],
  );
  assert.match(String(refused[0]?.['failure_reason']), /^not_authorized: .*"default"/);
  assert.match(String(refused[1]?.['failure_reason']), /^no_identity: /);
});
