import assert from 'node:assert/strict';
import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseCertificate } from '../../../src/pki/index.ts';
import { parseSpiffeId, parseTrustDomain, verifyX509Svid } from '../../../src/spiffe/index.ts';
import { openAuthority, TRUST_DOMAIN } from '../../support/svid-fixtures.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';
import { waitUntil } from '../../support/wait-until.ts';

const HOUR = 3600_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');

test('an SVID is valid under the bundle, backdated 10 s, for the time asked', async () => {
  await using folder = await tempFolder();
  const clock = createTestClock();
  await using open = await openAuthority(folder.path, { clock });
  const { authority } = open;
  const svid = await authority.issueX509Svid({ spiffeId: ORDERS, ttlMs: 2 * HOUR });
  assert.equal(svid.notBefore, clock.now() - 10_000);
  assert.equal(svid.notAfter, clock.now() + 2 * HOUR);
  const leaf = parseCertificate(svid.certificateChain[0]!);
  const roots = authority.bundle.value.x509Authorities.map(parseCertificate);
  const verdict = verifyX509Svid(leaf, { authorities: () => roots, now: clock.now() });
  assert.ok(verdict.valid && verdict.spiffeId === ORDERS);
  assert.equal((await authority.issueX509Svid({ spiffeId: ORDERS })).notAfter, clock.now() + HOUR);
});

test('an SVID never outlives its CA', async () => {
  await using folder = await tempFolder();
  const clock = createTestClock();
  await using open = await openAuthority(folder.path, { clock, caTtlMs: HOUR });
  const svid = await open.authority.issueX509Svid({ spiffeId: ORDERS, ttlMs: 5 * HOUR });
  const [root] = open.authority.bundle.value.x509Authorities.map(parseCertificate);
  assert.equal(svid.notAfter, root!.notAfter);
  await clock.advance(HOUR + 1000);
  await assert.rejects(open.authority.issueX509Svid({ spiffeId: ORDERS }), { code: 'authority_failed' });
});

test('the CA and its keys are the same after a restart', async () => {
  await using folder = await tempFolder();
  const clock = createTestClock();
  let before;
  {
    await using open = await openAuthority(folder.path, { clock });
    before = open.authority.bundle.value;
  }
  await using again = await openAuthority(folder.path, { clock });
  assert.deepEqual(
    again.authority.bundle.value.x509Authorities.map((der) => Buffer.from(der)),
    before.x509Authorities.map((der) => Buffer.from(der)),
  );
  assert.equal(again.authority.bundle.value.sequence, before.sequence);
});

test('a data directory of another trust domain is refused by name', async () => {
  await using folder = await tempFolder();
  await openAuthority(folder.path).then((open) => open[Symbol.asyncDispose]());
  await assert.rejects(openAuthority(folder.path, { trustDomain: parseTrustDomain('other.test') }), {
    code: 'config_invalid',
    message: 'data_dir holds the authority of trust domain example.test, but trust_domain is other.test',
  });
});

test('the next root is published at half of the life, signs at a sixth, and every living SVID stays valid', async () => {
  await using folder = await tempFolder();
  const clock = createTestClock();
  await using open = await openAuthority(folder.path, { clock, caTtlMs: 24 * HOUR });
  const { authority } = open;
  const stop = new AbortController();
  const run = authority.run(stop.signal);
  const living = [];
  const sizes = new Set<number>();
  const signers = new Set<string>();
  let last = authority.bundle.value.sequence;
  for (let hour = 0; hour < 100; hour += 1) {
    const svid = await authority.issueX509Svid({ spiffeId: ORDERS });
    living.push(svid);
    signers.add(svid.authorityId);
    await advance(clock, HOUR / 2);
    const roots = authority.bundle.value.x509Authorities.map(parseCertificate);
    sizes.add(roots.length);
    assert.ok(authority.bundle.value.sequence >= last);
    last = authority.bundle.value.sequence;
    for (const one of living.filter(({ notAfter }) => notAfter >= clock.now())) {
      const leaf = parseCertificate(one.certificateChain[0]!);
      assert.ok(verifyX509Svid(leaf, { authorities: () => roots, now: clock.now() }).valid);
    }
  }
  stop.abort();
  await run;
  assert.ok(signers.size >= 3, 'the CA was rotated');
  assert.ok(Math.max(...sizes) <= 4, 'ended roots leave the bundle');
  const { x509Authorities, jwtAuthorities } = authority.bundle.value;
  assert.equal((await readdir(join(folder.path, 'keys'))).length, x509Authorities.length + jwtAuthorities.length);
  assert.equal(TRUST_DOMAIN, authority.bundle.value.trustDomain);
});

/** Moves on, and waits for the files that the authority writes then. */
async function advance(clock: TestClock, ms: number): Promise<void> {
  await clock.advance(ms);
  await waitUntil('the authority to sleep again', 5000, () => clock.sleeping > 0);
}

for (const caTtlMs of [2000, 10_000, 60_000]) {
  test(`a CA that lives for ${caTtlMs / 1000} s is not followed at once, and few are kept`, async () => {
    await using folder = await tempFolder();
    const clock = createTestClock();
    await using open = await openAuthority(folder.path, { clock, caTtlMs });
    assert.equal(open.authority.bundle.value.x509Authorities.length, 1);
    const stop = new AbortController();
    const run = open.authority.run(stop.signal);
    for (let step = 0; step < 60; step += 1) await advance(clock, caTtlMs / 6);
    assert.ok(open.authority.bundle.value.x509Authorities.length <= 4);
    assert.ok((await open.authority.issueX509Svid({ spiffeId: ORDERS })).notAfter > clock.now());
    stop.abort();
    await run;
  });
}

test('an SVID lives for at least the time asked, also between two seconds', async () => {
  await using folder = await tempFolder();
  const clock = createTestClock(Date.UTC(2026, 0, 1) + 999);
  await using open = await openAuthority(folder.path, { clock });
  const { notAfter } = await open.authority.issueX509Svid({ spiffeId: ORDERS, ttlMs: 1000 });
  assert.equal(notAfter, Date.UTC(2026, 0, 1) + 2000);
});

test('a CA made while the clock was years ahead is replaced as soon as the clock is right', async () => {
  await using folder = await tempFolder();
  const clock = createTestClock(Date.UTC(2036, 0, 1));
  await using open = await openAuthority(folder.path, { clock });
  const stop = new AbortController();
  const run = open.authority.run(stop.signal);
  await advance(clock, 13 * HOUR); // the next one is published
  clock.set(Date.UTC(2026, 0, 1));
  await advance(clock, 60_000);
  const svid = await open.authority.issueX509Svid({ spiffeId: ORDERS });
  const roots = open.authority.bundle.value.x509Authorities.map(parseCertificate);
  const verdict = verifyX509Svid(parseCertificate(svid.certificateChain[0]!), {
    authorities: () => roots,
    now: clock.now(),
  });
  assert.ok(verdict.valid);
  stop.abort();
  await run;
});

test('a key that is not that of its certificate is refused by name', async () => {
  await using one = await tempFolder();
  await using other = await tempFolder();
  for (const { path } of [one, other]) await openAuthority(path).then((open) => open[Symbol.asyncDispose]());
  const keyIn = async (path: string): Promise<string> => {
    const names = await readdir(join(path, 'keys'));
    return join(
      path,
      'keys',
      names.find((name) => name.startsWith('x509-'))!,
    );
  };
  await copyFile(await keyIn(one.path), await keyIn(other.path));
  await assert.rejects(openAuthority(other.path), {
    code: 'authority_failed',
    message: /^the key of x509 authority [0-9a-f]+ is not its own$/,
  });
});
