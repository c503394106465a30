import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import {
  AGGREGATED_DISCOVERY_SERVICE,
  DeltaDiscoveryRequest,
  encodeMessage,
  SECRET_DISCOVERY_SERVICE,
} from '../../src/proto/index.ts';
import { openDelta } from '../support/delta-client.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const startLimited = (limits: string): Promise<TestServer> =>
  startTestServer({ entries: entriesFor('/a'), config: `sds: { limits: { ${limits} } }` });

/** A counter or gauge as /metrics shows it, or 0. */
async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`http://${server.running.addresses.telemetry}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length) ?? 0);
}

/** That a stream which is open already goes on as if nothing had happened. */
async function withHealthyStream(server: TestServer, client: RawClient, disturb: () => Promise<void>): Promise<void> {
  const stream = openDelta(client);
  stream.subscribe('default');
  stream.ack(await stream.next());
  await disturb();
  await server.write('entries.yaml', entriesFor('/b'));
  stream.ack(await stream.next());
  stream.cancel();
}

test('streams beyond the limit end with ResourceExhausted, those that are open go on, and one that ends makes room', async () => {
  await using server = await startLimited('streams: 3');
  using client = connect(server.socket);
  using other = connect(server.socket);
  await withHealthyStream(server, other, async () => {
    const open = [client.streamSecrets(), client.streamSecrets()];
    for (const stream of open) {
      stream.send({ resourceNames: ['ROOTCA'] });
      await stream.next();
    }
    const [kept] = open;
    const refused = client.streamSecrets();
    refused.send({ resourceNames: ['ROOTCA'] });
    const { code, details } = await refused.ended;
    assert.deepEqual([code, details], [status.RESOURCE_EXHAUSTED, 'more than 3 open streams']);
    assert.equal(await metric(server, 'svidgate_sds_refusals_total{limit="streams"}'), 1);
    kept?.cancel();
    await waitUntil('room for another stream', 5000, async () => {
      const stream = client.streamSecrets();
      stream.send({ resourceNames: ['ROOTCA'] });
      return (await stream.next()).resources.length === 1;
    });
  });
});

test('a flood of requests ends with ResourceExhausted, by whatever stream or connection it comes', async () => {
  await using server = await startLimited('requests_per_second: 20');
  using client = connect(server.socket);
  using other = connect(server.socket);
  await withHealthyStream(server, other, async () => {
    const [stream, second] = [openDelta(client), openDelta(client)];
    for (let count = 0; count < 40; count += 1) (count % 2 === 0 ? stream : second).subscribe('default');
    const ends = await Promise.race([stream.ended, second.ended]);
    assert.equal(ends.code, status.RESOURCE_EXHAUSTED);
    assert.match(ends.details, /^more than 20 requests a second$/);
    await assert.rejects(Promise.all(Array.from({ length: 60 }, () => client.fetchSecrets(['ROOTCA']))), {
      code: status.RESOURCE_EXHAUSTED,
    });
    assert.ok((await metric(server, 'svidgate_sds_refusals_total{limit="requests"}')) >= 2);
    stream.cancel();
    second.cancel();
    await waitUntil('the bucket to fill up again', 5000, async () => {
      const again = await client.fetchSecrets(['ROOTCA']);
      return again.resources.length === 1;
    });
  });
});

test('a flood of bytes ends with ResourceExhausted', async () => {
  await using server = await startLimited('request_bytes_per_second: 1048576');
  using client = connect(server.socket);
  const stream = client.streamSecrets();
  const bytes = encodeMessage(DeltaDiscoveryRequest, { node: { metadata: {}, id: 'x'.repeat(900_000) } });
  const fetched = Promise.allSettled(
    Array.from({ length: 12 }, () => client.unary(SECRET_DISCOVERY_SERVICE.fetchSecrets.path, bytes)),
  );
  const codes = (await fetched).map((one) =>
    one.status === 'rejected' ? (one.reason as { readonly code?: status }).code : status.OK,
  );
  assert.ok(codes.includes(status.RESOURCE_EXHAUSTED), codes.join());
  assert.ok((await metric(server, 'svidgate_sds_refusals_total{limit="bytes"}')) >= 1);
  stream.cancel();
});

const HOSTILE = [
  { what: 'a hundred thousand names', names: Array.from({ length: 100_000 }, (_, index) => `n${index}`) },
  { what: 'a name of nearly a megabyte', names: ['x'.repeat(1_000_000)] },
  { what: 'a thousand long names', names: Array.from({ length: 1000 }, (_, index) => `${index}`.padEnd(1000, 'x')) },
];

for (const { what, names: resourceNames } of HOSTILE) {
  test(`${what} are refused in both variants, with and without ADS, by a short status`, async () => {
    await using server = await startTestServer();
    using client = connect(server.socket);
    const requests = [
      { path: SECRET_DISCOVERY_SERVICE.deltaSecrets.path, request: { resourceNamesSubscribe: resourceNames } },
      { path: SECRET_DISCOVERY_SERVICE.deltaSecrets.path, request: { resourceNamesUnsubscribe: resourceNames } },
      {
        path: AGGREGATED_DISCOVERY_SERVICE.deltaAggregatedResources.path,
        request: { resourceNamesSubscribe: resourceNames },
      },
    ];
    for (const { path, request } of requests) {
      const stream = openDelta(client, path);
      stream.send(request);
      const { code, details } = await stream.ended;
      assert.equal(code, status.RESOURCE_EXHAUSTED);
      assert.ok(details.length < 300, details);
    }
    const sotw = client.streamSecrets();
    sotw.send({ resourceNames });
    assert.equal((await sotw.ended).code, status.RESOURCE_EXHAUSTED);
    await assert.rejects(client.fetchSecrets(resourceNames), { code: status.RESOURCE_EXHAUSTED });
    assert.equal(await metric(server, 'svidgate_sds_refusals_total{limit="names"}'), 5);
  });
}

test('versions and nonces that were never sent do no harm: each is a request, and no answer comes of it', async () => {
  await using server = await startTestServer({ entries: entriesFor('/a') });
  using client = connect(server.socket);
  const sotw = client.streamSecrets();
  sotw.send({ resourceNames: ['ROOTCA'], versionInfo: 'never sent', responseNonce: 'never sent' });
  const first = await sotw.next();
  const delta = openDelta(client);
  delta.send({
    resourceNamesSubscribe: ['ROOTCA'],
    responseNonce: 'never sent',
    initialResourceVersions: { ROOTCA: 'never sent', other: 'never sent' },
  });
  await delta.next();
  for (let count = 0; count < 100; count += 1) {
    sotw.send({ resourceNames: ['default'], versionInfo: 'never sent', responseNonce: `never sent ${count}` });
    delta.send({ responseNonce: `never sent ${count}`, errorDetail: { code: 13, message: 'no' } });
  }
  sotw.ack(first, ['ROOTCA', 'default']);
  delta.subscribe('default');
  const [second, named] = await Promise.all([sotw.next(), delta.next()]);
  assert.equal(second.resources.length, 2);
  assert.deepEqual(
    named.resources.map(({ name }) => name),
    ['default'],
  );
  assert.deepEqual([sotw.waiting, delta.waiting()], [0, 0]);
  assert.equal(await metric(server, 'svidgate_sds_nacks_total'), 0);
});

test('a thousand streams that come and go are counted out, and their caller has room again', async () => {
  await using server = await startLimited('streams: 100');
  using client = connect(server.socket);
  const stillOpen = async (): Promise<number> => await metric(server, 'svidgate_sds_streams');
  for (let round = 0; round < 10; round += 1) {
    const streams = Array.from({ length: 100 }, () => openDelta(client));
    for (const stream of streams) stream.subscribe('ROOTCA', 'default');
    await Promise.all(streams.map((stream) => stream.next()));
    for (const stream of streams) stream.cancel();
    await waitUntil('all streams to be closed', 10_000, async () => (await stillOpen()) === 0);
  }
  assert.equal(await metric(server, 'svidgate_sds_refusals_total{limit="streams"}'), 0);
});
