import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeMessage,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
  Secret,
  unpackAny,
} from '../../../../src/proto/index.ts';
import { sdsStage, SETTINGS, settle } from '../../../support/sds-stage.ts';
import { PENDING } from '../../../support/sds-view.ts';

const ask = (...resourceNames: readonly string[]): Uint8Array => encodeMessage(DiscoveryRequest, { resourceNames });
const stockOf = (content: Readonly<Record<string, string>>) => new Map(Object.entries(content));

function namesIn(bytes: Uint8Array): readonly string[] {
  const response = decodeMessage(DiscoveryResponse, bytes, 2 ** 20);
  assert.equal(response.nonce, '');
  return response.resources.map((resource) => unpackAny(Secret, resource, 2 ** 20).name);
}

test('names are answered once, no name and a star with everything', async () => {
  const stage = sdsStage();
  stage.stock.set(stockOf({ a: '1', b: '1', c: '1' }));
  assert.deepEqual(namesIn(await stage.fetch(ask('b', 'a'))), ['a', 'b']);
  assert.deepEqual(namesIn(await stage.fetch(ask())), ['a', 'b', 'c']);
  assert.deepEqual(namesIn(await stage.fetch(ask('*'))), ['a', 'b', 'c']);
  assert.deepEqual(stage.followed, []);
});

test('what is to come is waited for', async () => {
  const stage = sdsStage();
  stage.stock.set(stockOf({ a: '1', b: PENDING }));
  const answers = Promise.all([stage.fetch(ask('a', 'b')), stage.fetch(ask())]);
  await stage.clock.advance(4000);
  stage.stock.set(stockOf({ a: '1', b: '2' }));
  assert.deepEqual((await answers).map(namesIn), [
    ['a', 'b'],
    ['a', 'b'],
  ]);
  assert.equal(stage.clock.sleeping, 0);
});

const LIMITS = [
  { what: 'five seconds', deadlineMs: undefined, waitedMs: 5000 },
  { what: 'five seconds of a longer deadline', deadlineMs: 60_000, waitedMs: 5000 },
  { what: 'until shortly before the deadline', deadlineMs: 2000, waitedMs: 1800 },
  { what: 'not after the deadline', deadlineMs: -5, waitedMs: 0 },
];

for (const { what, deadlineMs, waitedMs } of LIMITS) {
  test(`but ${what}`, async () => {
    const stage = sdsStage();
    stage.stock.set(stockOf({ a: PENDING }));
    let isOver = false;
    const deadline = deadlineMs === undefined ? undefined : stage.clock.now() + deadlineMs;
    const answer = stage.fetch(ask('a'), deadline).finally(() => (isOver = true));
    const refused = assert.rejects(answer, { code: 'identity_pending' });
    await stage.clock.advance(waitedMs - 1);
    if (waitedMs > 0) assert.equal(isOver, false);
    await stage.clock.advance(1);
    await refused;
    assert.deepEqual([stage.followed, stage.clock.sleeping], [[], 0]);
  });
}

for (const unknownName of ['error', 'wait'] as const) {
  test(`an unknown name and an unregistered caller are refused at once, under unknownName: ${unknownName} too`, async () => {
    const stage = sdsStage({ unknownName });
    stage.stock.set(stockOf({ a: '1', b: PENDING }));
    await assert.rejects(stage.fetch(ask('a', 'b', 'z')), { code: 'not_authorized', message: /\["z"\]/ });
    stage.isRegistered.set(false);
    await assert.rejects(stage.fetch(ask('a')), { code: 'not_authorized' });
    await assert.rejects(stage.fetch(ask()), { code: 'no_identity' });
    assert.deepEqual(
      stage.audited,
      Array.from({ length: 3 }, () => 'call_refused FetchSecrets'),
    );
  });
}

test('a caller that has ended is sent nothing', async () => {
  const stage = sdsStage();
  stage.stock.set(stockOf({ a: '1' }));
  stage.isAlive = false;
  await assert.rejects(stage.fetch(ask('a')), { code: 'attestation_failed' });
});

test('each counts as a request', async () => {
  const stage = sdsStage({ limits: { ...SETTINGS.limits, requestsPerSecond: 2 } });
  stage.stock.set(stockOf({ a: '1' }));
  await stage.fetch(ask('a'));
  await stage.fetch(ask('a'));
  await assert.rejects(stage.fetch(ask('a')), { code: 'overloaded' });
  await settle();
});
