import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { SvidgateError } from '../../../../src/core/index.ts';
import { WORKLOAD_API_SERVICE } from '../../../../src/proto/index.ts';
import { parseTrustDomain, type TrustBundle } from '../../../../src/spiffe/index.ts';
import { connectRaw, frame } from '../../../support/raw-grpc.ts';
import { createTestTrustDomain } from '../../../support/test-trust-domain.ts';
import { waitUntil } from '../../../support/wait-until.ts';
import { goneProcess, SECRET_VARIABLE, startTestWorkloadApi, testEntry } from '../../../support/workload-api.ts';
import { connectWorkload } from '../../../support/workload-client.ts';

const NO_IDENTITY = ['PERMISSION_DENIED', 'no identity issued'];
const STREAMS = ['x509Svids', 'x509Bundles', 'jwtBundles'] as const;

async function foreign(name: string, fields: Partial<TrustBundle> = {}): Promise<TrustBundle> {
  return { ...(await createTestTrustDomain(name)).bundle.value, ...fields };
}

test('FetchX509SVID gives chain, key and bundles in DER, the first entry first', async () => {
  await using api = await startTestWorkloadApi();
  const other = await foreign('other.test');
  const rootless = await foreign('rootless.test', { x509Authorities: [] });
  api.foreignBundles.set(new Map([other, rootless].map((bundle) => [bundle.trustDomain, bundle])));
  const federatesWith = [other.trustDomain, rootless.trustDomain];
  api.entries.set([testEntry('/a', { hint: 'internal', federatesWith }), testEntry('/b')]);
  using client = connectWorkload(api.address);
  const { svids, crl, federatedBundles } = await client.x509Svids().next();
  assert.deepEqual(
    svids.map(({ spiffeId, hint }) => [spiffeId, hint]),
    [
      ['spiffe://example.test/a', 'internal'],
      ['spiffe://example.test/b', ''],
    ],
  );
  for (const { spiffeId, x509Svid, x509SvidKey, bundle } of svids) {
    const leaf = new X509Certificate(x509Svid);
    assert.equal(leaf.subjectAltName, `URI:${spiffeId}`);
    assert.ok(leaf.verify(new X509Certificate(bundle).publicKey));
    const key = createPrivateKey({ key: Buffer.from(x509SvidKey), format: 'der', type: 'pkcs8' });
    assert.ok(leaf.checkPrivateKey(key));
  }
  assert.deepEqual(crl, []);
  // go-spiffe refuses the whole response for a domain without a root.
  assert.deepEqual(Object.keys(federatedBundles), ['spiffe://other.test']);
  assert.deepEqual(Buffer.from(federatedBundles['spiffe://other.test']!), Buffer.from(other.x509Authorities[0]!));
});

test('of SVIDs with the same hint the first stays', async () => {
  await using api = await startTestWorkloadApi();
  const hints = { a: 'x', b: 'y', c: 'x', d: undefined, e: undefined };
  api.entries.set(
    Object.entries(hints).map(([name, hint]) => testEntry(`/${name}`, hint === undefined ? {} : { hint })),
  );
  using client = connectWorkload(api.address);
  const { svids } = await client.x509Svids().next();
  const expected = ['/a', '/b', '/d', '/e'].map((path) => `spiffe://example.test${path}`);
  assert.deepEqual(
    svids.map(({ spiffeId }) => spiffeId),
    expected,
  );
  const tokens = await client.jwtSvids({ audience: ['x'] });
  assert.deepEqual(
    tokens.svids.map(({ spiffeId }) => spiffeId),
    expected,
  );
});

test('the bundle streams give the own trust domain first, and JWK Sets that any JWT library takes', async () => {
  await using api = await startTestWorkloadApi();
  const keyless = await foreign('a.test', { jwtAuthorities: [], revocationLists: [Buffer.from('30', 'hex')] });
  api.foreignBundles.set(new Map([[keyless.trustDomain, keyless]]));
  api.entries.set([testEntry('/web', { federatesWith: [keyless.trustDomain] })]);
  using client = connectWorkload(api.address);
  const x509 = await client.x509Bundles().next();
  assert.deepEqual(Object.keys(x509.bundles), ['spiffe://example.test', 'spiffe://a.test']);
  assert.deepEqual(
    x509.crl.map((list) => Buffer.from(list).toString('hex')),
    ['30'],
  );
  const jwt = await client.jwtBundles().next();
  const sets = Object.entries(jwt.bundles).map(([id, json]) => [id, JSON.parse(Buffer.from(json).toString())] as const);
  assert.deepEqual(sets[1], ['spiffe://a.test', { keys: [] }]);
  const [id, { keys, ...rest }] = sets[0] as [string, { readonly keys: readonly Record<string, string>[] }];
  assert.deepEqual([id, rest], ['spiffe://example.test', {}]);
  assert.deepEqual(Object.keys(keys[0]!).sort(), ['crv', 'kid', 'kty', 'x', 'y']);
});

test('a stream answers on each change of its own content, and never twice the same', async () => {
  await using api = await startTestWorkloadApi();
  using client = connectWorkload(api.address);
  const [svids, bundles, keys] = [client.x509Svids(), client.x509Bundles(), client.jwtBundles()];
  await Promise.all([svids.next(), bundles.next(), keys.next()]);
  api.entries.set([testEntry('/web'), testEntry('/other')]);
  assert.equal((await svids.next()).svids.length, 2);
  await api.domain.rotateRoot();
  const [rotated, roots] = await Promise.all([svids.next(), bundles.next()]);
  assert.equal(Buffer.compare(rotated.svids[0]!.bundle, roots.bundles['spiffe://example.test']!), 0);
  api.entries.set([testEntry('/web'), testEntry('/other')]); // the same again
  api.domain.bundle.set({ ...api.domain.bundle.value, sequence: 9 });
  api.entries.set([testEntry('/web')]);
  assert.equal((await svids.next()).svids.length, 1);
  assert.deepEqual([svids.waiting, bundles.waiting, keys.waiting], [0, 0, 0]);
  for (const stream of [svids, bundles, keys]) stream.cancel();
});

for (const call of STREAMS) {
  test(`${call}: a caller without an entry is told so, and one that loses it is told then`, async () => {
    await using api = await startTestWorkloadApi();
    using client = connectWorkload(api.address);
    const held = client[call]();
    await held.next();
    api.entries.set([]);
    assert.deepEqual(await held.ended, NO_IDENTITY);
    assert.deepEqual(await client[call]().ended, NO_IDENTITY);
    assert.deepEqual(
      api.audited.map(({ event, result, failure_reason }) => [event, result, failure_reason]),
      [1, 2].map(() => ['call_refused', 'failure', 'no_identity: no identity issued']),
    );
  });
}

test('the audit log names the caller of each issuance, without the values of its environment', async () => {
  await using api = await startTestWorkloadApi();
  using client = connectWorkload(api.address);
  await client.x509Svids().next();
  await client.jwtSvids({ audience: ['x'] });
  assert.deepEqual(
    api.issuances.map(({ event, caller }) => [event, caller?.pid, caller?.selectors]),
    [1, 2].map(() => ['svid_issued', 7, ['unix:uid:1', 'docker:env:PASSWORD=***']]),
  );
  assert.ok(!JSON.stringify(api.issuances).includes(SECRET_VARIABLE));
});

test('a process that is gone gets no further secret', async () => {
  await using api = await startTestWorkloadApi();
  using client = connectWorkload(api.address);
  const stream = client.x509Svids();
  await stream.next();
  api.caller.assertAlive = () => {
    throw goneProcess();
  };
  api.entries.set([testEntry('/new')]);
  assert.deepEqual(await stream.ended, ['UNAVAILABLE', 'workload attestation failed']);
  assert.equal(stream.waiting, 0);
});

test('what attestation or the identity source says of trouble reaches the caller', async () => {
  await using api = await startTestWorkloadApi();
  using client = connectWorkload(api.address);
  api.caller.attest = () => {
    throw goneProcess();
  };
  for (const call of STREAMS) {
    assert.deepEqual(await client[call]().ended, ['UNAVAILABLE', 'workload attestation failed']);
  }
  api.caller.attest = () => {
    throw new SvidgateError('upstream_failed', 'the upstream authority gives nothing yet');
  };
  assert.deepEqual(await client.x509Svids().ended, ['UNAVAILABLE', 'the upstream authority gives nothing yet']);
  assert.deepEqual(api.audited, []);
});

test('a caller that does not read gets the newest answer when it does, and holds nobody up', async () => {
  await using api = await startTestWorkloadApi();
  using client = connectWorkload(api.address);
  using busy = connectWorkload(api.address);
  const lazy = client.x509Svids();
  lazy.pause();
  const eager = busy.x509Svids();
  await eager.next();
  const many = Array.from({ length: 300 }, (_, index) => testEntry(`/many/${index}`, { entryId: `m${index}` }));
  for (let round = 0; round < 40; round += 1) {
    api.entries.set(many.slice(0, 200 + round));
    assert.equal((await eager.next()).svids.length, 200 + round);
  }
  api.entries.set([testEntry('/last')]);
  await eager.next();
  lazy.resume();
  let last = (await lazy.next()).svids;
  let answers = 1;
  while (last[0]?.spiffeId !== 'spiffe://example.test/last') {
    last = (await lazy.next()).svids;
    answers += 1;
  }
  assert.ok(answers < 30, `${answers} of 42 answers`); // the client library itself takes 16 ahead
  lazy.cancel();
  eager.cancel();
});

const HEADERS: readonly { readonly name: string; readonly values: readonly string[] }[] = [
  { name: 'no security header', values: [] },
  { name: 'another value', values: ['TRUE'] },
  { name: 'an empty value', values: [''] },
  { name: 'the header twice', values: ['true', 'true'] },
  { name: 'two values in one', values: ['true, true'] },
];
for (const { name, values } of HEADERS) {
  test(`${name}: every call is refused before anything else`, async () => {
    await using api = await startTestWorkloadApi();
    api.caller.attest = () => assert.fail('attested');
    using client = connectWorkload(
      api.address,
      values.map((value) => ['workload.spiffe.io', value]),
    );
    for (const { path } of Object.values(WORKLOAD_API_SERVICE)) {
      const ending = await client.stream(path).ended;
      assert.deepEqual(ending, ['INVALID_ARGUMENT', 'security header missing from request'], path);
    }
  });
}

test('the calls for WIT-SVIDs are unimplemented', async () => {
  await using api = await startTestWorkloadApi();
  using client = connectWorkload(api.address);
  for (const { path } of [WORKLOAD_API_SERVICE.fetchWitSvid, WORKLOAD_API_SERVICE.fetchWitBundles]) {
    assert.equal((await client.stream(path).ended)[0], 'UNIMPLEMENTED');
  }
});

test('one process has so many calls open at once, and one more when one ends', async () => {
  await using api = await startTestWorkloadApi({ maxCallsPerProcess: 3 });
  using client = connectWorkload(api.address);
  using again = connectWorkload(api.address);
  const open = [client.x509Svids(), client.x509Bundles(), again.jwtBundles()];
  await Promise.all(open.map((stream) => stream.next()));
  assert.deepEqual(await again.x509Svids().ended, ['RESOURCE_EXHAUSTED', 'more than 3 calls of one process at once']);
  open[0]!.cancel();
  await waitUntil('room', 5000, async () => (await again.jwtSvids({ audience: ['x'] })).svids.length === 1);
  for (const stream of open) stream.cancel();
});

test('a second message in a call that takes one is refused', async () => {
  await using api = await startTestWorkloadApi();
  using raw = connectRaw(api.address);
  const headers = { 'workload.spiffe.io': 'true' };
  for (const { path } of [WORKLOAD_API_SERVICE.fetchX509Svid, WORKLOAD_API_SERVICE.fetchJwtSvid]) {
    const message = frame(Buffer.from('0a0178', 'hex'));
    const answer = await raw.call({ path, headers, body: [message, message] });
    assert.deepEqual([answer.grpcStatus, answer.message], ['12', undefined], path);
  }
});

test('own and foreign domains are never mixed up', async () => {
  await using api = await startTestWorkloadApi();
  const other = await foreign('other.test');
  const unasked = await foreign('unasked.test');
  api.foreignBundles.set(new Map([other, unasked].map((bundle) => [bundle.trustDomain, bundle])));
  api.entries.set([testEntry('/web', { federatesWith: [other.trustDomain, parseTrustDomain('unknown.test')] })]);
  using client = connectWorkload(api.address);
  assert.deepEqual(Object.keys((await client.x509Bundles().next()).bundles), [
    'spiffe://example.test',
    'spiffe://other.test',
  ]);
});
