import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Authority } from '../../../src/authority/index.ts';
import {
  noMetrics,
  silentLogger,
  SvidgateError,
  Watchable,
  type LogFields,
  type Logger,
  type Metrics,
} from '../../../src/core/index.ts';
import { parseSpiffeId, verifyX509Svid, type X509Svid } from '../../../src/spiffe/index.ts';
import { createAuthorityStage, createTestUpstream, type AuthorityStage } from '../../support/authority-stage.ts';
import { parsed } from '../../support/parsed-certificate.ts';
import { waitUntil } from '../../support/wait-until.ts';

const HOUR = 3600_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');

function verifies(svid: X509Svid, roots: readonly Uint8Array[], now: number): boolean {
  const [leaf, ...intermediates] = svid.certificateChain.map(parsed);
  return verifyX509Svid(leaf!, { authorities: () => roots.map(parsed), intermediates, now }).valid;
}

/** Moves on in steps, and lets what they start come to its end: signatures of the upstream are made on other threads. */
async function advance({ clock }: AuthorityStage, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= HOUR / 4) {
    await clock.advance(Math.min(left, HOUR / 4));
    await waitUntil('the authority to sleep again', 5000, () => clock.sleeping > 0);
  }
}

async function runFor(stage: AuthorityStage, authority: Authority, ms: number): Promise<void> {
  const stop = new AbortController();
  const running = authority.run(stop.signal);
  await advance(stage, ms);
  stop.abort();
  await running;
}

test('with an upstream an SVID carries the intermediate, and verifies with the upstream root alone', async () => {
  const stage = createAuthorityStage();
  const upstream = await createTestUpstream(stage.clock);
  const authority = await stage.open({ upstream });
  const svid = await authority.issueX509Svid({ spiffeId: ORDERS });
  assert.equal(svid.certificateChain.length, 2);
  assert.deepEqual(authority.bundle.value.x509Authorities, [upstream.root]);
  assert.ok(verifies(svid, [upstream.root], stage.clock.now()));
  assert.ok(
    !verifies({ ...svid, certificateChain: svid.certificateChain.slice(0, 1) }, [upstream.root], stage.clock.now()),
  );
  const [slot] = authority.slots.value;
  assert.equal(slot!.upstream, 'test');
  assert.equal(slot!.upstreamAuthorityId, parsed(upstream.root).subjectKeyId);
  assert.equal(svid.authorityId, slot!.id);
});

test('an SVID ends with the shortest life above it: of the intermediate, or of the root', async () => {
  const stage = createAuthorityStage();
  const short = await createTestUpstream(stage.clock);
  short.lifeMs = 2 * HOUR;
  const ending = await createTestUpstream(stage.clock, 3 * HOUR);
  for (const [upstream, hours] of [
    [short, 2],
    [ending, 3],
  ] as const) {
    const authority = await createAuthorityStage().open({ upstream, clock: stage.clock });
    const svid = await authority.issueX509Svid({ spiffeId: ORDERS, ttlMs: 10 * HOUR });
    assert.equal(svid.notAfter, stage.clock.now() + hours * HOUR);
  }
});

test('a new root of the upstream is in the bundle at once, and before anything is signed under it', async () => {
  const stage = createAuthorityStage();
  const upstream = await createTestUpstream(stage.clock);
  const authority = await stage.open({ upstream });
  const before = authority.bundle.value.sequence;
  const stop = new AbortController();
  const running = authority.run(stop.signal);
  await stage.clock.advance(1000);
  const first = upstream.root;
  await upstream.rotate();
  await stage.clock.advance(0);
  assert.deepEqual(authority.bundle.value.x509Authorities, [first, upstream.root]);
  assert.equal(authority.bundle.value.sequence, before + 1);
  assert.ok(verifies(await authority.issueX509Svid({ spiffeId: ORDERS }), [first], stage.clock.now()));
  await advance(stage, 23 * HOUR);
  assert.ok(verifies(await authority.issueX509Svid({ spiffeId: ORDERS }), [upstream.root], stage.clock.now()));
  stop.abort();
  await running;
});

test('an intermediate is tainted, but not revoked while the root above it stays', async () => {
  const stage = createAuthorityStage();
  const upstream = await createTestUpstream(stage.clock);
  const authority = await stage.open({ upstream });
  const first = authority.slots.value[0]!;
  await stage.clock.advance(31_000);
  await authority.activate(await authority.prepare('x509'));
  await authority.taint(first);
  await assert.rejects(authority.revoke(first), { code: 'conflict', message: /only its upstream can revoke it/ });
});

test('there are no revocation lists under an upstream: its roots would have none', async () => {
  const stage = createAuthorityStage();
  const upstream = await createTestUpstream(stage.clock);
  const target = { kind: 'serial', serial: 'ab' } as const;
  const all = [{ id: 'r', target, reason: 'unspecified', revokedAt: 0 }] as const;
  const value = { all, hasSerial: () => true, hasSpiffeId: () => false, hasSerialOf: () => false };
  const authority = await stage.open({ upstream, revocations: new Watchable(value) });
  assert.equal(authority.bundle.value.revocationLists, undefined);
});

/** What an upstream that is set up wrongly could give. */
const wrong = [
  {
    name: 'the CA of another key',
    says: /for another key/,
    spoil: async (stage: AuthorityStage) => (await createTestUpstream(stage.clock)).root,
  },
  { name: 'no certificate', says: /chain is empty/, spoil: () => Promise.resolve(undefined) },
  {
    name: 'bytes that are no certificate',
    says: /cannot be read/,
    spoil: () => Promise.resolve(new Uint8Array([1, 2])),
  },
];

for (const { name, says, spoil } of wrong) {
  test(`an upstream that gives ${name} has failed, and no key is left`, async () => {
    const stage = createAuthorityStage();
    const upstream = await createTestUpstream(stage.clock);
    const certificate = await spoil(stage);
    const chain = certificate === undefined ? [] : [certificate];
    const mintCa = () => Promise.resolve({ chain, roots: [upstream.root] });
    await assert.rejects(stage.open({ upstream: { ...upstream, roots: upstream.roots, mintCa } }), {
      code: 'upstream_failed',
      message: says,
    });
    await stage.open({ upstream });
    assert.equal((await stage.keyManager.list()).length, 2);
  });
}

test('an upstream whose root is not its own, or whose CA has ended, has failed', async () => {
  const stage = createAuthorityStage();
  const upstream = await createTestUpstream(stage.clock);
  const other = await createTestUpstream(stage.clock);
  const mintCa: typeof upstream.mintCa = async (request) => ({
    ...(await upstream.mintCa(request)),
    roots: [other.root],
  });
  const spoilt = { ...upstream, roots: upstream.roots, mintCa };
  await assert.rejects(stage.open({ upstream: spoilt }), {
    code: 'upstream_failed',
    message: /leads to none of its roots/,
  });
  upstream.lifeMs = -1000;
  await assert.rejects(stage.open({ upstream }), { code: 'upstream_failed', message: /has ended/ });
});

/** Log lines and the gauge of the expiry. */
function recording(): {
  readonly lines: string[];
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly gauges: Map<string, number>;
} {
  const lines: string[] = [];
  const gauges = new Map<string, number>();
  const line = (level: string) => (_: LogFields, message: string) => void lines.push(`${level} ${message}`);
  const logger: Logger = { ...silentLogger, warn: line('warn'), error: line('error') };
  const metrics: Metrics = {
    ...noMetrics,
    gauge: (name, labels, value) => void gauges.set(`${name} ${JSON.stringify(labels)}`, value),
  };
  return { lines, logger, metrics, gauges };
}

test('with the upstream away what was issued goes on, also over a restart; a warning comes in time; then it recovers', async () => {
  const { lines, logger, metrics, gauges } = recording();
  const stage = createAuthorityStage({ logger, metrics });
  const upstream = await createTestUpstream(stage.clock);
  let authority = await stage.open({ upstream });
  const end = authority.slots.value[0]!.notAfter;
  assert.equal(gauges.get('svidgate_authority_expiry_seconds {"kind":"x509"}'), end / 1000);
  upstream.fault = () => {
    throw new SvidgateError('upstream_failed', 'away');
  };
  await runFor(stage, authority, 14 * HOUR);
  assert.ok(lines.includes('error ca rotation failed'));
  authority = await stage.open({ upstream });
  assert.ok(verifies(await authority.issueX509Svid({ spiffeId: ORDERS }), [upstream.root], stage.clock.now()));
  const isWarning = (text: string): boolean => text === 'warn ca ends soon and is not replaced';
  await runFor(stage, authority, 7.9 * HOUR);
  assert.equal(lines.filter(isWarning).length, 0);
  await runFor(stage, authority, 0.2 * HOUR);
  assert.equal(lines.filter(isWarning).length, 1, 'two hours before the end');
  assert.ok(
    authority.slots.value.some(({ kind }) => kind === 'jwt'),
    'JWT keys go on',
  );
  assert.ok(authority.slots.value.filter(({ kind }) => kind === 'jwt').length >= 2);
  upstream.fault = () => undefined;
  await runFor(stage, authority, 2 * 60_000);
  assert.ok(
    authority.slots.value.some(({ kind, state, notAfter }) => kind === 'x509' && state === 'active' && notAfter > end),
  );
  assert.ok(verifies(await authority.issueX509Svid({ spiffeId: ORDERS }), [upstream.root], stage.clock.now()));
});

test('with the key manager away bundles are served, issuing fails by name and recovers by itself', async () => {
  const stage = createAuthorityStage();
  const before = await stage.open();
  const svid = await before.issueX509Svid({ spiffeId: ORDERS });
  let isAway = true;
  const { keyManager } = stage;
  const unreachable = <T>(work: () => Promise<T>): Promise<T> =>
    isAway ? Promise.reject(new SvidgateError('key_manager_failed', 'away')) : work();
  const authority = await stage.open({
    keyManager: {
      ...keyManager,
      generate: (id, type) => unreachable(() => keyManager.generate(id, type)),
      find: (id) => unreachable(() => keyManager.find(id)),
      remove: (id) => unreachable(() => keyManager.remove(id)),
    },
  });
  assert.deepEqual(authority.bundle.value, before.bundle.value);
  await assert.rejects(authority.issueX509Svid({ spiffeId: ORDERS }), { code: 'authority_failed' });
  await runFor(stage, authority, 60_000);
  assert.ok(verifies(svid, authority.bundle.value.x509Authorities, stage.clock.now()));
  assert.equal(authority.slots.value.length, 2, 'a key that cannot be reached is not lost');
  isAway = false;
  const again = await authority.issueX509Svid({ spiffeId: ORDERS });
  assert.equal(again.authorityId, svid.authorityId);
});

test('keys that are gone for good, as those in memory after a restart, are replaced; what they signed stays trusted', async () => {
  const stage = createAuthorityStage();
  const before = await stage.open();
  const svid = await before.issueX509Svid({ spiffeId: ORDERS });
  for (const id of await stage.keyManager.list()) await stage.keyManager.remove(id);
  const authority = await stage.open();
  const states = authority.slots.value.map(({ kind, state }) => `${kind} ${state}`);
  assert.deepEqual(states.sort(), ['jwt active', 'jwt old', 'x509 active', 'x509 old']);
  assert.ok(verifies(svid, authority.bundle.value.x509Authorities, stage.clock.now()));
  assert.notEqual((await authority.issueX509Svid({ spiffeId: ORDERS })).authorityId, svid.authorityId);
});

test('with the datastore away SVIDs are issued, and a due rotation happens when it is back', async () => {
  const stage = createAuthorityStage();
  let isAway = false;
  const { documents } = stage.stores;
  const authority = await stage.open({
    documents: {
      read: (name) => documents.read(name),
      write: (name, text) =>
        isAway ? Promise.reject(new SvidgateError('datastore_failed', 'away')) : documents.write(name, text),
    },
  });
  isAway = true;
  const { value } = authority.bundle;
  await runFor(stage, authority, 13 * HOUR);
  assert.equal(authority.bundle.value, value, 'nothing is published that is not on disk');
  await authority.issueX509Svid({ spiffeId: ORDERS });
  isAway = false;
  await runFor(stage, authority, 2 * 60_000);
  assert.equal(authority.bundle.value.x509Authorities.length, 2);
  const keys = await stage.keyManager.list();
  assert.equal(keys.length, 4, 'the attempts left no keys');
});

test('a restart does not wait for an upstream that does not answer, while there is a CA that signs', async () => {
  const stage = createAuthorityStage();
  const upstream = await createTestUpstream(stage.clock);
  await stage.open({ upstream });
  await stage.clock.advance(13 * HOUR);
  const silent = { ...upstream, roots: upstream.roots, mintCa: () => new Promise<never>(() => undefined) };
  const authority = await stage.open({ upstream: silent });
  assert.ok(verifies(await authority.issueX509Svid({ spiffeId: ORDERS }), [upstream.root], stage.clock.now()));
});
