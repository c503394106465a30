import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Authority, AuthoritySlotStatus, BundleAcknowledgements } from '../../../src/authority/index.ts';
import { silentLogger, SvidgateError, Watchable, type AuditEvent, type AuditLog } from '../../../src/core/index.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';
import { createAuthorityStage, type AuthorityStage } from '../../support/authority-stage.ts';

const HOUR = 3600_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');
const OPERATOR = { uid: 1000, pid: 7 };

/** An audit log that can be told to fail. */
function recordingAudit(): AuditLog & { readonly events: AuditEvent[]; isFull: boolean } {
  const audit = {
    events: [] as AuditEvent[],
    isFull: false,
    record(event: AuditEvent) {
      if (audit.isFull) throw new SvidgateError('audit_failed', 'no space');
      audit.events.push(event);
    },
  };
  return audit;
}

const withState = (authority: Authority, kind: 'x509' | 'jwt', state: string): AuthoritySlotStatus | undefined =>
  authority.slots.value.find((slot) => slot.kind === kind && slot.state === state);

/** Prepares and activates, with the wait that follows a start. */
async function rotate(stage: AuthorityStage, authority: Authority, kind: 'x509' | 'jwt'): Promise<AuthoritySlotStatus> {
  await stage.clock.advance(31_000);
  const { id } = await authority.prepare(kind, OPERATOR);
  const activated = authority.activate({ kind, id }, OPERATOR);
  await stage.clock.advance(31_000);
  return await activated;
}

for (const kind of ['x509', 'jwt'] as const) {
  test(`${kind}: prepared, activated, tainted, revoked by hand, each audited with who asked`, async () => {
    const audit = recordingAudit();
    const stage = createAuthorityStage({ audit });
    const authority = await stage.open();
    const first = withState(authority, kind, 'active')!;
    const second = await rotate(stage, authority, kind);
    assert.equal(second.state, 'active');
    assert.equal(withState(authority, kind, 'old')?.id, first.id);
    const before = authority.bundle.value;
    assert.equal((await authority.taint(first, OPERATOR)).state, 'tainted');
    assert.deepEqual([...authority.tainted.value], [first.id]);
    assert.equal(authority.bundle.value, before, 'what is tainted is still trusted');
    assert.equal((await authority.revoke(first, OPERATOR)).state, 'revoked');
    assert.deepEqual([...authority.tainted.value], [first.id]);
    assert.equal(authority.bundle.value.sequence, before.sequence + 1);
    assert.equal(
      authority.bundle.value.x509Authorities.length + authority.bundle.value.jwtAuthorities.length,
      before.x509Authorities.length + before.jwtAuthorities.length - 1,
    );
    const keys = await stage.keyManager.list();
    assert.ok(!keys.includes(first.keyId) && keys.includes(second.keyId), 'the key is gone, too');
    const told = audit.events.filter((event) => event.event === 'authority_changed' && event.caller === OPERATOR);
    assert.deepEqual(
      told.map((event) => ['change' in event && event.change, 'authority_id' in event && event.authority_id]),
      [
        ['prepared', second.id],
        ['activated', second.id],
        ['retired', first.id],
        ['tainted', first.id],
        ['revoked', first.id],
      ],
    );
  });
}

test('what the rules forbid is a conflict, and changes nothing', async () => {
  const stage = createAuthorityStage();
  const authority = await stage.open();
  const active = withState(authority, 'x509', 'active')!;
  const before = stage.stores.texts.get('authority');
  await assert.rejects(authority.taint(active), { code: 'conflict', message: /activate another one first/ });
  await assert.rejects(authority.revoke(active), { code: 'conflict', message: /activate another one first/ });
  await assert.rejects(authority.activate(active), { code: 'conflict', message: /is active: only a prepared one/ });
  await assert.rejects(authority.taint({ kind: 'jwt', id: active.id }), { code: 'not_found' });
  await assert.rejects(authority.taint({ kind: 'x509', id: 'abc' }), { code: 'not_found' });
  assert.equal(stage.stores.texts.get('authority'), before);
});

test('a second prepare takes the place of the first, whose key goes', async () => {
  const stage = createAuthorityStage();
  const authority = await stage.open();
  const first = await authority.prepare('x509');
  const second = await authority.prepare('x509');
  assert.notEqual(first.id, second.id);
  assert.equal(authority.slots.value.filter(({ kind }) => kind === 'x509').length, 2);
  assert.ok(!(await stage.keyManager.list()).includes(first.keyId));
  await assert.rejects(authority.activate(first), { code: 'not_found' });
});

test('with a full audit log that is required nothing changes', async () => {
  const audit = recordingAudit();
  const stage = createAuthorityStage({ audit });
  const authority = await stage.open();
  audit.isFull = true;
  const { value } = authority.slots;
  await assert.rejects(authority.prepare('x509'), { code: 'audit_failed' });
  assert.equal(authority.slots.value, value);
  audit.isFull = false;
  await authority.prepare('x509');
  assert.equal((await stage.keyManager.list()).length, 3, 'no key is left of the attempt');
});

function envoys(...names: readonly string[]): BundleAcknowledgements & { ack(name: string): void } {
  const pending = new Set(names);
  const changed = new Watchable(0);
  return {
    pending: (sequence) => (sequence > 2 ? [...pending] : []),
    changed,
    ack(name) {
      pending.delete(name);
      changed.set(changed.value + 1);
    },
  };
}

test('a CA waits until every Envoy has acknowledged it, and says for which it waits', async () => {
  const acknowledgements = envoys('one', 'two');
  const stage = createAuthorityStage({ acknowledgements });
  const authority = await stage.open();
  await stage.clock.advance(31_000);
  const stop = new AbortController();
  const running = authority.run(stop.signal);
  const prepared = await authority.prepare('x509');
  assert.deepEqual(prepared.waitingFor, ['one', 'two']);
  const activated = authority.activate(prepared);
  await stage.clock.advance(10_000);
  acknowledgements.ack('two');
  await stage.clock.advance(10_000);
  assert.equal(withState(authority, 'x509', 'prepared')?.activationRequested, true);
  assert.deepEqual(withState(authority, 'x509', 'prepared')?.waitingFor, ['one']);
  acknowledgements.ack('one');
  await stage.clock.advance(0);
  assert.equal(withState(authority, 'x509', 'active')?.id, prepared.id);
  assert.deepEqual((await activated).waitingFor, []);
  stop.abort();
  await running;
});

test('an Envoy that never acknowledges is waited for until the limit, and named', async () => {
  const lines: (readonly [unknown, string])[] = [];
  const logger = { ...silentLogger, warn: (fields: unknown, message: string) => void lines.push([fields, message]) };
  const stage = createAuthorityStage({ acknowledgements: envoys('deaf'), ackTimeoutMs: 20_000, logger });
  const authority = await stage.open();
  await stage.clock.advance(31_000);
  const prepared = await authority.prepare('x509');
  const activated = authority.activate(prepared);
  await stage.clock.advance(19_000);
  assert.equal(withState(authority, 'x509', 'prepared')?.id, prepared.id);
  await stage.clock.advance(1001);
  assert.deepEqual((await activated).waitingFor, ['deaf']);
  const [[fields, message] = []] = lines;
  assert.equal(message, 'a new ca signs although envoys did not acknowledge it');
  assert.deepEqual(fields, { ca_id: prepared.id, count: 1, waiting_for: ['deaf'] });
});

test('an activation that was asked for happens also after a restart, and when nobody waits for it', async () => {
  const stage = createAuthorityStage({ acknowledgements: envoys('deaf') });
  let authority = await stage.open();
  const prepared = await authority.prepare('x509');
  const gone = new AbortController();
  const waiting = authority.activate(prepared, OPERATOR, gone.signal);
  await stage.clock.advance(1000);
  gone.abort();
  await assert.rejects(waiting, { code: 'canceled' });
  authority = await stage.open();
  assert.equal(withState(authority, 'x509', 'prepared')?.activationRequested, true);
  const stop = new AbortController();
  const running = authority.run(stop.signal);
  await stage.clock.advance(31_000);
  assert.equal(withState(authority, 'x509', 'active')?.id, prepared.id);
  stop.abort();
  await running;
});

test('a JWT key is published for the whole limit before it signs', async () => {
  const stage = createAuthorityStage();
  const authority = await stage.open();
  await stage.clock.advance(HOUR);
  const prepared = await authority.prepare('jwt');
  const activated = authority.activate(prepared);
  await stage.clock.advance(29_000);
  assert.notEqual((await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] })).keyId, prepared.id);
  await stage.clock.advance(1001);
  await activated;
  assert.equal((await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] })).keyId, prepared.id);
});

test('what is tainted while its key is at work is not handed out', async () => {
  const stage = createAuthorityStage();
  const { promise: released, resolve } = Promise.withResolvers<void>();
  const work = { isSlow: false };
  const { keyManager } = stage;
  const authority = await stage.open({
    keyManager: {
      ...keyManager,
      async generate(id, type) {
        const key = await keyManager.generate(id, type);
        const sign = async (data: Uint8Array): Promise<Uint8Array> => {
          if (work.isSlow) await released;
          return await key.sign(data);
        };
        return { ...key, sign };
      },
    },
  });
  const first = withState(authority, 'x509', 'active')!;
  await stage.clock.advance(31_000);
  const { id } = await authority.prepare('x509');
  work.isSlow = true;
  const issuing = authority.issueX509Svid({ spiffeId: ORDERS });
  await stage.clock.advance(0);
  work.isSlow = false;
  await authority.activate({ kind: 'x509', id });
  await authority.taint(first);
  resolve();
  assert.equal((await issuing).authorityId, id);
});

for (const kind of ['x509', 'jwt'] as const) {
  test(`${kind}: a clock that was ahead at the start holds nothing back once it is right`, async () => {
    const stage = createAuthorityStage({ caTtlMs: 100 * 24 * HOUR });
    await stage.open();
    const now = stage.clock.now();
    stage.clock.set(now + 24 * HOUR);
    const authority = await stage.open();
    stage.clock.set(now + HOUR);
    const prepared = await authority.prepare(kind);
    const activated = authority.activate(prepared);
    await stage.clock.advance(29_000);
    assert.equal(withState(authority, kind, 'prepared')?.id, prepared.id);
    await stage.clock.advance(1001);
    assert.equal((await activated).state, 'active');
  });
}
