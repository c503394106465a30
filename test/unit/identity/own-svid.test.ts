import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger, SvidgateError, Watchable } from '../../../src/core/index.ts';
import { createOwnSvid } from '../../../src/identity/index.ts';
import { parseSpiffeId, type X509Svid } from '../../../src/spiffe/index.ts';
import { createTestClock } from '../../support/test-clock.ts';
import { createTestTrustDomain } from '../../support/test-trust-domain.ts';

const GATE = parseSpiffeId('spiffe://example.test/gate');
const HOUR = 3_600_000;

interface Revoked {
  readonly serials?: readonly string[];
  readonly ids?: readonly string[];
}

const revocationsOf = ({ serials = [], ids = [] }: Revoked) => ({
  hasSerial: (serial: string) => serials.includes(serial),
  hasSpiffeId: (id: string) => ids.includes(id),
});

async function stage() {
  const clock = createTestClock(Date.now());
  const domain = await createTestTrustDomain('example.test', { clock });
  const revocations = new Watchable(revocationsOf({}));
  const tainted = new Watchable<ReadonlySet<string>>(new Set());
  let isAway = false;
  const own = createOwnSvid({
    spiffeId: GATE,
    entryId: 'gate',
    issuer: {
      async issueX509Svid(request) {
        if (isAway) throw new SvidgateError('authority_failed', 'away');
        if (revocations.value.hasSpiffeId(request.spiffeId)) throw new SvidgateError('no_identity', 'revoked');
        return await domain.issueX509Svid({ ...request, ttlMs: HOUR });
      },
    },
    tainted,
    revocations,
    clock,
    logger: silentLogger,
    random: () => 0.5,
  });
  const stop = new AbortController();
  const running = own.run(stop.signal);
  return {
    clock,
    own,
    tainted,
    revoke: (revoked: Revoked) => revocations.set(revocationsOf(revoked)),
    setAway: (away: boolean) => (isAway = away),
    /** Resolves with the next one that is shown and is another. */
    next: (old?: X509Svid) =>
      new Promise<X509Svid>((resolve) => {
        const look = (svid: X509Svid | undefined): void => {
          if (svid !== undefined && svid !== old) resolve(svid);
        };
        look(own.svid.value);
        own.svid.subscribe(look);
      }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

test('it is replaced at half of its life, and taken away when svidgate stops', async () => {
  const on = await stage();
  const first = await on.next();
  assert.equal(first.spiffeId, GATE);
  await on.clock.advance(HOUR / 2 - 1000);
  assert.equal(on.own.svid.value, first);
  await on.clock.advance(2000);
  assert.notEqual((await on.next(first)).serial, first.serial);
  await on[Symbol.asyncDispose]();
  assert.equal(on.own.svid.value, undefined);
});

test('a revoked serial is not shown for a moment, and another takes its place', async () => {
  await using on = await stage();
  const first = await on.next();
  on.revoke({ serials: [first.serial] });
  assert.notEqual(on.own.svid.value, first);
  const second = await on.next(first);
  assert.notEqual(second.serial, first.serial);
});

test('a revoked SPIFFE ID shows nothing until that is undone', async () => {
  await using on = await stage();
  await on.next();
  on.revoke({ ids: [GATE] });
  assert.equal(on.own.svid.value, undefined);
  await on.clock.advance(HOUR / 2 + 60_000);
  assert.equal(on.own.svid.value, undefined);
  on.revoke({});
  assert.ok((await on.next()).notAfter > on.clock.now());
});

test('one that has ended is not shown while no other can be issued', async () => {
  await using on = await stage();
  await on.next();
  on.setAway(true);
  await on.clock.advance(HOUR + 20_000);
  assert.equal(on.own.svid.value, undefined);
  on.setAway(false);
  await on.clock.advance(60_000);
  await on.next();
});

test('what a tainted CA signed is replaced', async () => {
  await using on = await stage();
  const first = await on.next();
  on.tainted.set(new Set([first.authorityId]));
  await on.clock.advance(61_000);
  assert.notEqual((await on.next(first)).serial, first.serial);
});
