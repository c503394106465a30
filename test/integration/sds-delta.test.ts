import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import {
  AGGREGATED_DISCOVERY_SERVICE,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
  SECRET_TYPE_URL,
  type DeltaDiscoveryResponse,
} from '../../src/proto/index.ts';
import { openDelta, secretsIn, versionsIn } from '../support/delta-client.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor, OWN_SELECTOR, startTestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const { streamAggregatedResources, deltaAggregatedResources } = AGGREGATED_DISCOVERY_SERVICE;
const id = (path: string): string => `spiffe://example.test${path}`;
const namesIn = (response: DeltaDiscoveryResponse): readonly string[] => [...secretsIn(response).keys()];

function uriOf(response: DeltaDiscoveryResponse, name: string): string | undefined {
  const chain = secretsIn(response).get(name)?.tlsCertificate?.certificateChain?.inlineBytes;
  return new X509Certificate(chain ?? '').subjectAltName;
}

test('only the secret that changed is sent, with a version of its own', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a', '/b') });
  using client = connect(server.socket);
  const stream = openDelta(client);
  stream.subscribe(id('/a'), id('/b'), 'ROOTCA');
  const first = await stream.next();
  assert.deepEqual(new Set(namesIn(first)), new Set([id('/a'), id('/b'), 'ROOTCA']));
  assert.equal(first.typeUrl, SECRET_TYPE_URL);
  stream.ack(first);
  await server.write('entries.yaml', entriesFor('/a', '/c'));
  const second = await stream.next();
  assert.deepEqual([namesIn(second), second.removedResources], [[], [id('/b')]]);
  stream.ack(second);
  await server.write('entries.yaml', entriesFor('/a', '/b'));
  const third = await stream.next();
  assert.deepEqual([namesIn(third), third.removedResources], [[id('/b')], []]);
  assert.equal(uriOf(third, id('/b')), `URI:${id('/b')}`);
  assert.equal(stream.waiting(), 0);
});

test('an Envoy that comes again is sent only what it does not hold, and what it asks for by name', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a') });
  using client = connect(server.socket);
  const before = openDelta(client);
  before.subscribe('*');
  const held = versionsIn(await before.next());
  assert.deepEqual(Object.keys(held).sort(), [id(''), id('/a')]);
  before.cancel();
  const again = openDelta(client);
  again.send({ initialResourceVersions: { ...held, [id('/gone')]: 'old' } });
  const answer = await again.next();
  assert.deepEqual([namesIn(answer), answer.removedResources], [[], [id('/gone')]]);
  const named = openDelta(client);
  named.send({ resourceNamesSubscribe: [id('/a')], initialResourceVersions: held });
  assert.deepEqual(versionsIn(await named.next()), { [id('/a')]: held[id('/a')] });
});

test('a second watch on a name is answered, alone and under ADS, in both variants', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a') });
  using client = connect(server.socket);
  for (const path of [undefined, deltaAggregatedResources.path]) {
    const stream = openDelta(client, path);
    stream.subscribe('default');
    const first = await stream.next();
    stream.ack(first, { resourceNamesSubscribe: ['default'] });
    assert.deepEqual(versionsIn(await stream.next()), versionsIn(first));
  }
  const sotw = client.open(streamAggregatedResources.path, DiscoveryResponse);
  const ask = (fields: { readonly versionInfo?: string; readonly nonce?: string }): void =>
    sotw.sendBytes(
      encodeMessage(DiscoveryRequest, {
        typeUrl: SECRET_TYPE_URL,
        resourceNames: ['default'],
        versionInfo: fields.versionInfo ?? '',
        responseNonce: fields.nonce ?? '',
      }),
    );
  ask({});
  const first = await sotw.next();
  ask(first);
  ask(first);
  const second = await sotw.next();
  assert.equal(second.versionInfo, first.versionInfo);
  assert.notEqual(second.nonce, first.nonce);
});

for (const path of [streamAggregatedResources.path, deltaAggregatedResources.path]) {
  test(`${path.slice(path.lastIndexOf('/') + 1)}: resources of another type, or of none, are refused`, async () => {
    await using server = await startTestServer();
    using client = connect(server.socket);
    for (const typeUrl of ['', 'type.googleapis.com/envoy.config.listener.v3.Listener']) {
      const stream = openDelta(client, path);
      if (path === deltaAggregatedResources.path) stream.send({ typeUrl });
      else stream.sendBytes(encodeMessage(DiscoveryRequest, { typeUrl }));
      const { code, details } = await stream.ended;
      assert.equal(code, status.INVALID_ARGUMENT);
      assert.match(details, /^type_url must be /);
    }
  });
}

test('a refused secret is not sent again, and the next one is', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a') });
  using client = connect(server.socket);
  const stream = openDelta(client);
  stream.subscribe('default', 'ROOTCA');
  const first = await stream.next();
  stream.nack(first, 'no such key');
  await waitUntil('the refusal to be logged', 5000, () =>
    server.lines.some(({ message, reason }) => message === 'secrets refused by envoy' && reason === 'no such key'),
  );
  await server.write('entries.yaml', entriesFor('/b'));
  const second = await stream.next();
  assert.deepEqual(namesIn(second), ['default']);
  assert.equal(uriOf(second, 'default'), `URI:${id('/b')}`);
});

test('an unknown name is told as removed, and sent when its entry comes; the stream goes on', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a') });
  using client = connect(server.socket);
  const stream = openDelta(client);
  stream.subscribe(id('/late'), 'default');
  const first = await stream.next();
  assert.deepEqual([namesIn(first), first.removedResources], [['default'], [id('/late')]]);
  stream.ack(first);
  await server.write('entries.yaml', entriesFor('/a', '/late'));
  assert.equal(uriOf(await stream.next(), id('/late')), `URI:${id('/late')}`);
});

test('a caller without entries: the stream ends, or is answered when one comes', async () => {
  for (const unknownName of ['error', 'wait']) {
    await using server = await startTestServer({
      entries: 'entries: []',
      config: `sds: { unknown_name: ${unknownName} }`,
    });
    using client = connect(server.socket);
    const stream = openDelta(client);
    stream.subscribe('default');
    if (unknownName === 'error') {
      assert.equal((await stream.ended).code, status.INVALID_ARGUMENT);
      continue;
    }
    await waitUntil('the caller to be attested', 5000, () =>
      server.lines.some(({ message }) => message === 'caller attested'),
    );
    await server.write('entries.yaml', entriesFor('/late'));
    assert.equal(uriOf(await stream.next(), 'default'), `URI:${id('/late')}`);
  }
});

test('an entry that changes nothing for a stream pushes nothing to it', async () => {
  const entries = (ttl: string): string =>
    JSON.stringify({
      entries: [
        { spiffe_id: id('/a'), selectors: [OWN_SELECTOR] },
        { spiffe_id: id('/b'), selectors: [OWN_SELECTOR], x509_svid_ttl: ttl },
      ],
    });
  await using server = await startTestServer({ entries: entries('30m') });
  using client = connect(server.socket);
  const [quiet, changed] = [openDelta(client), openDelta(client)];
  quiet.subscribe(id('/a'), 'ROOTCA');
  changed.subscribe(id('/b'));
  quiet.ack(await quiet.next());
  changed.ack(await changed.next());
  await server.write('entries.yaml', entries('20m'));
  await changed.next();
  quiet.subscribe('ALL');
  assert.deepEqual(namesIn(await quiet.next()), ['ALL']);
});
