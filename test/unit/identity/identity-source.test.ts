import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SvidgateError } from '../../../src/core/index.ts';
import type { CallerIdentity } from '../../../src/identity/index.ts';
import {
  parseSpiffeId,
  parseTrustDomain,
  type RegistrationEntry,
  type TrustBundle,
} from '../../../src/spiffe/index.ts';
import { entry, ids, MINUTE, SELECTORS, watchCaller } from '../../support/watched-caller.ts';

/** What the watch of a caller waits for a signature before it tells of what was taken away. */
const MOMENT = 20;

test('a caller holds one SVID for each of its entries, in their order, with its hint', async () => {
  const stage = await watchCaller([entry('a', '/x'), entry('b', '/y'), { ...entry('c', '/x'), hint: 'third' }]);
  assert.deepEqual(ids(stage.states.at(-1)), [
    'spiffe://example.test/x',
    'spiffe://example.test/y',
    'spiffe://example.test/x',
  ]);
  assert.deepEqual(
    stage.states.at(-1)?.svids.map(({ entryId, hint }) => [entryId, hint]),
    [
      ['a', undefined],
      ['b', undefined],
      ['c', 'third'],
    ],
  );
  assert.equal(stage.states.length, 1);
  await stage.stop();
});

test('an SVID is rotated at half of its life, and the old one is replaced as a whole', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  await stage.clock.advance(29 * MINUTE);
  assert.equal(stage.issued.length, 1);
  await stage.clock.advance(2 * MINUTE);
  assert.equal(stage.issued.length, 2);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid, stage.issued[1]);
  await stage.stop();
  await stage.clock.advance(600 * MINUTE);
  assert.equal(stage.issued.length, 2, 'nothing is issued for a caller that is gone');
});

test('a rotation that fails keeps the old SVID until it expires, never longer, and recovers by itself', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.failing = true;
  await stage.clock.advance(59 * MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.serial, '0');
  await stage.clock.advance(2 * MINUTE);
  assert.deepEqual(stage.states.at(-1)?.svids, []);
  stage.failing = false;
  await stage.clock.advance(MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.serial, '1');
  await stage.stop();
});

test('entries that come and go change what the caller holds; other SVIDs stay as they are', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.entries.set({ match: () => [entry('a', '/x'), entry('b', '/y')], concerns: () => true });
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/x', 'spiffe://example.test/y']);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid, stage.issued[0]);
  stage.entries.set({ match: () => [], concerns: () => true });
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), []);
  await stage.stop();
});

test('what is deleted or revoked while an SVID is being signed is taken away in a moment, and never told of', async () => {
  const [x, y, z] = [entry('a', '/x'), entry('b', '/y'), entry('c', '/z')];
  const stage = await watchCaller([x, y]);
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  stage.entries.set({ match: () => [x, y, z], concerns: () => true });
  await stage.clock.advance(0);
  stage.entries.set({ match: () => [y, z], concerns: () => true });
  await stage.clock.advance(MOMENT);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/y']);
  assert.deepEqual(stage.states.at(-1)?.pending, [{ spiffeId: z.spiffeId, isDefault: false }]);
  stage.revoke(y.spiffeId);
  await stage.clock.advance(MOMENT);
  assert.deepEqual(ids(stage.states.at(-1)), []);
  const before = stage.states.length;
  stage.entries.set({ match: () => [x], concerns: () => true });
  resolve();
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/x']);
  const since = stage.states.slice(before).flatMap(ids);
  assert.ok(!since.includes(z.spiffeId), 'its entry was deleted before it was signed');
  await stage.stop();
});

test('an edit that changes nothing for the caller is not told; a new bundle is', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.entries.set({ match: () => [entry('a', '/x')], concerns: () => true });
  await stage.clock.advance(0);
  assert.equal(stage.states.length, 1);
  stage.bundle.set({ ...stage.bundle.value, sequence: 2 });
  await stage.clock.advance(0);
  assert.equal(stage.states.length, 2);
  assert.equal(stage.issued.length, 1);
  await stage.stop();
});

test('after a clock was set, ahead or back, the SVID is replaced within a minute', async () => {
  for (const jump of [3 * 60 * MINUTE, -3 * 60 * MINUTE]) {
    const stage = await watchCaller([entry('e', '/a')]);
    stage.clock.set(stage.clock.now() + jump);
    await stage.clock.advance(MINUTE);
    const svid = stage.states.at(-1)?.svids[0]?.svid;
    assert.ok(svid !== undefined && svid.notBefore <= stage.clock.now() && stage.clock.now() < svid.notAfter);
    assert.equal(stage.issued.length, 2);
    await stage.stop();
  }
});

test('a revoked serial is replaced at once, and is never shown again', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.revoke('0');
  await stage.clock.advance(0);
  assert.deepEqual(
    stage.states.map(({ svids }) => svids.map(({ svid }) => svid.serial)),
    [['0'], ['1']],
  );
  stage.failing = true;
  stage.revoke('1');
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.svids, [], 'without a replacement nothing is better than what was revoked');
  stage.failing = false;
  await stage.clock.advance(MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.serial, '2');
  await stage.stop();
});

test('a serial that is revoked while its rotation is under way is replaced by what comes of it, at once', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  await stage.clock.advance(30 * MINUTE);
  stage.revoke('0');
  await stage.clock.advance(0);
  resolve();
  await stage.clock.advance(0);
  assert.deepEqual(
    stage.states.map(({ svids }) => svids.map(({ svid }) => svid.serial)),
    [['0'], ['1']],
  );
  await stage.stop();
});

test('a serial that is revoked while a signature for a caller that has left is under way leaves no gap', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  await stage.clock.advance(30 * MINUTE);
  await stage.stop();
  const abort = new AbortController();
  const seen: string[][] = [];
  const watching = (async () => {
    for await (const { svids } of stage.source.watch(SELECTORS, abort.signal))
      seen.push(svids.map((s) => s.svid.serial));
  })();
  await stage.clock.advance(0);
  stage.revoke('0');
  resolve();
  await stage.clock.advance(MINUTE);
  abort.abort();
  await watching;
  assert.ok(seen.length > 0 && seen.every((serials) => serials.length === 1 && serials[0] !== '0'), String(seen));
});

test('a revocation that is about somebody else has nobody looked at again', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  let looks = 0;
  const match = (): readonly RegistrationEntry[] => {
    looks += 1;
    return [entry('a', '/x')];
  };
  stage.entries.set({ match, concerns: () => true });
  await stage.clock.advance(MOMENT);
  assert.ok(looks > 0);
  looks = 0;
  stage.revoke('spiffe://example.test/other', '7');
  await stage.clock.advance(MOMENT);
  assert.equal(looks, 0);
  stage.revoke('spiffe://example.test/x');
  await stage.clock.advance(MOMENT);
  assert.deepEqual(ids(stage.states.at(-1)), []);
  stage.revoke();
  await stage.clock.advance(MOMENT);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/x']);
  await stage.stop();
});

test('a revoked SPIFFE ID gets nothing, X.509 or JWT, until it is undone', async () => {
  const stage = await watchCaller([entry('a', '/x'), entry('b', '/y')]);
  stage.revoke('spiffe://example.test/x');
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/y']);
  const spiffeId = parseSpiffeId('spiffe://example.test/x');
  await assert.rejects(stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'], spiffeId }), { code: 'no_identity' });
  assert.equal((await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] })).length, 1);
  stage.revoke();
  await stage.clock.advance(0);
  assert.equal(ids(stage.states.at(-1)).length, 2);
  stage.revoke('spiffe://example.test/x', 'spiffe://example.test/y');
  assert.equal(stage.source.current(SELECTORS), undefined);
  await stage.stop();
});

test('what a tainted CA signed is replaced within a minute, not at once; JWT-SVIDs of a tainted key are not handed out', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  const [first] = await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] });
  stage.signer = 'bb';
  stage.tainted.set(new Set(['aa']));
  await stage.clock.advance(0);
  assert.equal(stage.issued.length, 1);
  await stage.clock.advance(MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.authorityId, 'bb');
  const [second] = await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] });
  assert.deepEqual([first?.svid.keyId, second?.svid.keyId], ['aa', 'bb']);
  await stage.stop();
});

test('what a tainted CA signed and nobody holds is shown to nobody who comes later', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  await stage.stop();
  stage.signer = 'bb';
  stage.tainted.set(new Set(['aa']));
  const later = new AbortController();
  for await (const { svids } of stage.source.watch(SELECTORS, later.signal)) {
    assert.deepEqual(
      svids.map(({ svid }) => svid.authorityId),
      ['bb'],
    );
    break;
  }
  later.abort();
});

test('foreign bundles reach the holders of entries that federate with their domains, and nobody else', async () => {
  const partner = parseTrustDomain('partner.test');
  const other = parseTrustDomain('other.test');
  const bundleOf = (trustDomain: typeof partner): TrustBundle => ({
    trustDomain,
    x509Authorities: [],
    jwtAuthorities: [],
    sequence: 1,
  });
  const stage = await watchCaller([{ ...entry('a', '/x'), federatesWith: [partner] }, entry('b', '/y')]);
  stage.foreignBundles.set(new Map([[other, bundleOf(other)]]));
  await stage.clock.advance(0);
  assert.equal(stage.states.length, 1, 'a domain it does not federate with is no news');
  const theirs = bundleOf(partner);
  stage.foreignBundles.set(new Map([...stage.foreignBundles.value, [partner, theirs]]));
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.foreignBundles, [theirs]);
  assert.deepEqual(stage.source.current(SELECTORS)?.foreignBundles, [theirs]);
  stage.foreignBundles.set(new Map());
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.foreignBundles, []);
  await stage.stop();
});

test('each issuance is recorded with its caller, and rotations as such; what cannot be recorded is not given', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  await stage.clock.advance(31 * MINUTE);
  await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'], caller: { pid: 8 } });
  const told = stage.audited.map((event) =>
    event.event === 'svid_issued'
      ? [event.svid_type, event.rotation, event.result, event.caller?.pid, event.entry_id, event.ttl_seconds]
      : [],
  );
  assert.deepEqual(told, [
    ['x509', false, 'success', 7, 'a', 3600],
    ['x509', true, 'success', 7, 'a', 3600],
    ['jwt', false, 'success', 8, 'a', 240],
  ]);
  stage.audited.push = () => {
    throw new SvidgateError('audit_failed', 'disk full');
  };
  await assert.rejects(stage.source.fetchJwtSvids(SELECTORS, { audience: ['new'] }), { code: 'audit_failed' });
  await stage.clock.advance(31 * MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.serial, '1', 'the new one is not shown');
  await stage.stop();
});

test('a change of entries that does not concern the caller is not looked into', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.entries.set({ match: () => assert.fail('asked'), concerns: () => false });
  await stage.clock.advance(0);
  assert.equal(stage.states.length, 1);
  await stage.stop();
});

test('a change is looked at once for all streams of callers with the same selectors, and reaches each', async () => {
  const x = entry('a', '/x');
  const stage = await watchCaller([x]);
  const abort = new AbortController();
  const seen = Array.from({ length: 50 }, (): CallerIdentity[] => []);
  const streams = seen.map(async (states) => {
    for await (const identity of stage.source.watch(new Set(SELECTORS), abort.signal)) states.push(identity);
  });
  await stage.clock.advance(0);
  let looks = 0;
  const match = (): readonly RegistrationEntry[] => {
    looks += 1;
    return [x, entry('b', '/y')];
  };
  stage.entries.set({ match, concerns: () => true });
  await stage.clock.advance(0);
  const [first] = seen;
  assert.deepEqual(ids(first?.at(-1)), [x.spiffeId, 'spiffe://example.test/y']);
  for (const states of seen) assert.ok(states.length === 2 && states.at(-1) === first?.at(-1));
  assert.ok(looks < 10, `${looks} looks`);
  abort.abort();
  await Promise.all(streams);
  await stage.stop();
  assert.equal(stage.clock.sleeping, 0);
});

test('a stream that joins others is never shown an SVID that has ended meanwhile', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.failing = true;
  stage.clock.set(stage.clock.now() + 61 * MINUTE);
  const abort = new AbortController();
  const seen: CallerIdentity[] = [];
  const stream = (async () => {
    for await (const identity of stage.source.watch(SELECTORS, abort.signal)) seen.push(identity);
  })();
  await stage.clock.advance(0);
  assert.deepEqual(seen.map(ids), [[]]);
  assert.deepEqual(ids(stage.states.at(-1)), []);
  abort.abort();
  await stream;
  await stage.stop();
});
