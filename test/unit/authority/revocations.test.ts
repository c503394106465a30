import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createRevocations, type Revocations, type RevocationSnapshot } from '../../../src/authority/index.ts';
import { silentLogger, SvidgateError, type AuditEvent } from '../../../src/core/index.ts';
import { parseSpiffeId, type Revocation, type SpiffeId } from '../../../src/spiffe/index.ts';
import { memoryStores, type MemoryStores } from '../../support/authority-stage.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';

const HOUR = 3600_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');
const OPERATOR = { uid: 1000 };

interface Stage {
  readonly stores: MemoryStores;
  readonly clock: TestClock;
  readonly events: AuditEvent[];
  auditFails: boolean;
  /** As a new process would. */
  open(): Promise<Revocations>;
}

function createStage(): Stage {
  const stores = memoryStores();
  const clock = createTestClock();
  const stage: Stage = {
    stores,
    clock,
    events: [],
    auditFails: false,
    open: () =>
      createRevocations({
        store: stores.revocations,
        issued: stores.issued,
        clock,
        logger: silentLogger,
        audit: {
          record(event) {
            if (stage.auditFails) throw new SvidgateError('audit_failed', 'full');
            stage.events.push(event);
          },
        },
      }),
  };
  return stage;
}

const serial = (text: string) => ({ target: { kind: 'serial', serial: text }, reason: 'key_compromise' }) as const;
const identity = (spiffeId: SpiffeId) => ({ target: { kind: 'spiffe_id', spiffeId }, reason: 'unspecified' }) as const;

test('a revoked serial is known with its holder, CA and end, over a restart, until it is undone', async () => {
  const stage = createStage();
  const notAfter = stage.clock.now() + HOUR;
  stage.stores.issued.record({ serial: 'ab12', spiffeId: ORDERS, authorityId: 'ca', notAfter });
  let revocations = await stage.open();
  const revoked = await revocations.revoke(serial('ab12'), OPERATOR);
  assert.deepEqual(revoked.target, { kind: 'serial', serial: 'ab12', spiffeId: ORDERS, authorityId: 'ca', notAfter });
  assert.equal(revoked.revokedAt, stage.clock.now());
  for (const _ of [1, 2]) {
    const { value } = revocations.snapshot;
    assert.deepEqual(
      [value.hasSerial('ab12'), value.hasSpiffeId(ORDERS), value.hasSerialOf(ORDERS)],
      [true, false, true],
    );
    assert.deepEqual(value.all, [revoked]);
    revocations = await stage.open();
  }
  assert.deepEqual(await revocations.undo(revoked.id, OPERATOR), revoked);
  for (const _ of [1, 2]) {
    const { value } = revocations.snapshot;
    assert.deepEqual([value.hasSerial('ab12'), value.hasSerialOf(ORDERS), value.all], [false, false, []]);
    revocations = await stage.open();
  }
  assert.deepEqual(
    stage.events.map((event) => [event.event, 'change' in event && event.change, event.caller, event.serial]),
    [
      ['revoked', 'revoked', OPERATOR, 'ab12'],
      ['revoked', 'undone', OPERATOR, 'ab12'],
    ],
  );
});

const spellings = [
  { text: 'AB12', normal: 'ab12' },
  { text: '0x00aB12', normal: 'ab12' },
  { text: '00:AB:12', normal: 'ab12' },
  { text: ' ab 12 ', normal: 'ab12' },
  { text: `00${'f'.repeat(40)}`, normal: 'f'.repeat(40) },
];

for (const { text, normal } of spellings) {
  test(`the serial ${JSON.stringify(text.slice(0, 12))} is the same as ${normal.slice(0, 12)}`, async () => {
    const revocations = await createStage().open();
    const { id, target } = await revocations.revoke(serial(text));
    assert.equal(target.kind === 'serial' && target.serial, normal);
    assert.equal((await revocations.revoke(serial(normal))).id, id, 'revoked once');
    assert.ok(revocations.snapshot.value.hasSerial(normal));
  });
}

for (const text of ['', '0', '00:00', 'xyz', '-1', 'f'.repeat(41), 'ab\u0000', '１']) {
  test(`the serial ${JSON.stringify(text.slice(0, 12))} is refused, and nothing is audited or stored`, async () => {
    const stage = createStage();
    const revocations = await stage.open();
    await assert.rejects(revocations.revoke(serial(text)), { code: 'invalid_request' });
    assert.deepEqual([stage.events, await stage.stores.revocations.list()], [[], []]);
  });
}

test('a SPIFFE ID is revoked as a whole; a trust domain is not', async () => {
  const revocations = await createStage().open();
  const first = await revocations.revoke(identity(ORDERS));
  assert.equal((await revocations.revoke({ ...identity(ORDERS), reason: 'superseded' })).id, first.id);
  assert.ok(revocations.snapshot.value.hasSpiffeId(ORDERS));
  assert.ok(!revocations.snapshot.value.hasSpiffeId(parseSpiffeId(`${ORDERS}/x`)));
  await assert.rejects(revocations.revoke(identity(parseSpiffeId('spiffe://example.test'))), {
    code: 'invalid_request',
  });
});

test('what is not there cannot be undone', async () => {
  await assert.rejects((await createStage().open()).undo('x'), { code: 'not_found' });
});

test('with an audit log that fails nothing is revoked or undone', async () => {
  const stage = createStage();
  const revocations = await stage.open();
  const { id } = await revocations.revoke(serial('ab'));
  stage.auditFails = true;
  await assert.rejects(revocations.revoke(serial('cd')), { code: 'audit_failed' });
  await assert.rejects(revocations.undo(id), { code: 'audit_failed' });
  assert.deepEqual(
    (await stage.stores.revocations.list()).map((revocation) => revocation.id),
    [id],
  );
  assert.ok(revocations.snapshot.value.hasSerial('ab') && !revocations.snapshot.value.hasSerial('cd'));
});

test('a write that fails is audited as failed, takes no effect, and the next one works', async () => {
  const stage = createStage();
  let fails = true;
  const store = stage.stores.revocations;
  const failing = {
    ...store,
    put: (revocation: Revocation) =>
      fails ? Promise.reject(new SvidgateError('datastore_failed', 'away')) : store.put(revocation),
  };
  const { issued } = stage.stores;
  const audit = { record: (event: AuditEvent) => void stage.events.push(event) };
  const revocations = await createRevocations({
    store: failing,
    issued,
    clock: stage.clock,
    logger: silentLogger,
    audit,
  });
  await assert.rejects(revocations.revoke(serial('ab')), { code: 'datastore_failed' });
  assert.ok(!revocations.snapshot.value.hasSerial('ab'));
  assert.deepEqual(
    stage.events.map(({ result }) => result),
    ['success', 'failure'],
  );
  fails = false;
  await revocations.revoke(serial('ab'));
  assert.ok(revocations.snapshot.value.hasSerial('ab'));
});

test('revocations that cannot be read are not taken for none', async () => {
  const stage = createStage();
  const store = {
    ...stage.stores.revocations,
    list: () => Promise.reject(new SvidgateError('datastore_failed', 'away')),
  };
  const { issued } = stage.stores;
  const made = createRevocations({
    store,
    issued,
    clock: stage.clock,
    logger: silentLogger,
    audit: { record: () => undefined },
  });
  await assert.rejects(made, { code: 'datastore_failed' });
});

test('a serial is forgotten a day after its end, one of unknown end and a SPIFFE ID are not', async () => {
  const stage = createStage();
  stage.stores.issued.record({ serial: 'ab', spiffeId: ORDERS, authorityId: 'ca', notAfter: stage.clock.now() + HOUR });
  const revocations = await stage.open();
  for (const text of ['ab', 'cd']) await revocations.revoke(serial(text));
  await revocations.revoke(identity(ORDERS));
  const stop = new AbortController();
  const running = revocations.run(stop.signal);
  await stage.clock.advance(2 * HOUR);
  assert.ok(!revocations.snapshot.value.hasSerialOf(ORDERS), 'what has ended needs no gate');
  assert.equal(revocations.snapshot.value.all.length, 3);
  await stage.clock.advance(25 * HOUR);
  await stage.clock.advance(HOUR);
  const expected = ['cd', ORDERS];
  const left = (all: readonly Revocation[]): readonly string[] =>
    all.map(({ target }) => (target.kind === 'serial' ? target.serial : target.spiffeId));
  assert.deepEqual(left(revocations.snapshot.value.all), expected);
  assert.deepEqual(left(await stage.stores.revocations.list()), expected);
  assert.equal(await stage.stores.issued.find('ab'), undefined);
  stop.abort();
  await running;
});

test('what a backup has brought back beside a newer revocation of the same is one, and is undone as one', async () => {
  const stage = createStage();
  const newer = await (await stage.open()).revoke(serial('ab'));
  await stage.stores.revocations.put({ ...newer, id: 'of-the-backup' });
  const revocations = await stage.open();
  assert.deepEqual(
    revocations.snapshot.value.all.map(({ id }) => id),
    [newer.id],
  );
  await revocations.undo(newer.id);
  assert.ok(!revocations.snapshot.value.hasSerial('ab'));
  assert.deepEqual(await stage.stores.revocations.list(), []);
});

test('a clock that is a month ahead for less than an hour has no revocation forgotten', async () => {
  const stage = createStage();
  const now = stage.clock.now();
  stage.stores.issued.record({ serial: 'ab', spiffeId: ORDERS, authorityId: 'ca', notAfter: now + HOUR });
  for (const isAtStart of [false, true]) {
    const revocations = await stage.open();
    await revocations.revoke(serial('ab'));
    if (isAtStart) stage.clock.set(now + 30 * 24 * HOUR);
    const stop = new AbortController();
    const running = revocations.run(stop.signal);
    if (!isAtStart) {
      await stage.clock.advance(0.75 * HOUR);
      stage.clock.set(now + 30 * 24 * HOUR);
    }
    await stage.clock.advance(HOUR / 2); // with one look
    stage.clock.set(now);
    await stage.clock.advance(HOUR);
    stop.abort();
    await running;
    assert.ok(revocations.snapshot.value.hasSerial('ab'));
    assert.equal((await stage.stores.revocations.list()).length, 1);
    assert.ok(await stage.stores.issued.find('ab'));
    stage.clock.set(now);
  }
});

test('whatever is revoked and undone, in any order, a snapshot answers as a plain list would, and never changes', async () => {
  const ids = ['a', 'b', 'c'].map((name) => parseSpiffeId(`spiffe://example.test/${name}`));
  const command = fc.record({ undo: fc.boolean(), isSerial: fc.boolean(), which: fc.nat(400) });
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 700, minLength: 300 }), async (commands) => {
      const stage = createStage();
      const holderOf = (which: number): SpiffeId => ids[which % 3]!;
      const notAfter = stage.clock.now() + HOUR;
      for (let which = 1; which <= 401; which += 2)
        stage.stores.issued.record({
          serial: which.toString(16),
          spiffeId: holderOf(which),
          authorityId: 'ca',
          notAfter,
        });
      const revocations = await stage.open();
      const model = new Map<string, Revocation>();
      const kept: (readonly [RevocationSnapshot, readonly string[]])[] = [];
      for (const { undo, isSerial, which } of commands) {
        const request = isSerial ? serial((which + 1).toString(16)) : identity(holderOf(which));
        const key = JSON.stringify(isSerial ? which + 1 : holderOf(which));
        const present = model.get(key);
        if (!undo) model.set(key, await revocations.revoke(request));
        else if (present !== undefined) {
          await revocations.undo(present.id);
          model.delete(key);
        }
        kept.push([revocations.snapshot.value, [...model.keys()].sort()]);
      }
      for (const [snapshot, keys] of [...kept.slice(0, 3), ...kept.slice(-3)]) {
        for (let which = 0; which <= 400; which += 1)
          assert.equal(snapshot.hasSerial((which + 1).toString(16)), keys.includes(JSON.stringify(which + 1)));
        for (const id of ids) {
          assert.equal(snapshot.hasSpiffeId(id), keys.includes(JSON.stringify(id)));
          const held = keys.map((key) => JSON.parse(key) as unknown).filter((key) => typeof key === 'number');
          assert.equal(
            snapshot.hasSerialOf(id),
            held.some((which) => which % 2 === 1 && holderOf(which) === id),
          );
        }
        assert.equal(snapshot.all.length, keys.length);
      }
    }),
    { numRuns: 12 },
  );
});

test('with 100,000 revocations the next one is in force within 50 ms, and a question takes microseconds', async () => {
  const stage = createStage();
  for (let number = 1; number <= 100_000; number += 1) {
    const target = { kind: 'serial', serial: number.toString(16), spiffeId: ORDERS } as const;
    await stage.stores.revocations.put({ id: `r${number}`, target, reason: 'unspecified', revokedAt: number });
  }
  const revocations = await stage.open();
  const times: number[] = [];
  for (let number = 1; number <= 20; number += 1) {
    const start = performance.now();
    await revocations.revoke(serial(`ffffff${number.toString(16)}`));
    times.push(performance.now() - start);
  }
  const { value } = revocations.snapshot;
  const start = performance.now();
  for (let number = 0; number < 10_000; number += 1) value.hasSerial(number.toString(16));
  const each = (performance.now() - start) / 10_000;
  times.sort((a, b) => a - b);
  assert.ok(times[10]! < 50, `revoking took ${times[10]} ms`);
  assert.ok(each < 0.05, `asking took ${each} ms`);
});
