/** Revocation lists, as openssl sees them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { createRevocations, type Authority, type Revocations } from '../../src/authority/index.ts';
import { noAudit, silentLogger, SvidgateError } from '../../src/core/index.ts';
import { pemEncode } from '../../src/pki/index.ts';
import { parseSpiffeId, type TrustBundle, type X509Svid } from '../../src/spiffe/index.ts';
import { createAuthorityStage, type AuthorityStage } from '../support/authority-stage.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const HOUR = 3600_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');
const openssl = promisify(execFile);

interface Opened {
  readonly stage: AuthorityStage;
  readonly revocations: Revocations;
  readonly authority: Authority;
  stop(): Promise<void>;
}

async function open(stage: AuthorityStage, options: Parameters<AuthorityStage['open']>[0] = {}): Promise<Opened> {
  const { clock, stores } = stage;
  const revocations = await createRevocations({
    store: stores.revocations,
    issued: stores.issued,
    clock,
    logger: silentLogger,
    audit: noAudit,
  });
  const authority = await stage.open({ revocations: revocations.snapshot, ...options });
  const stop = new AbortController();
  const running = authority.run(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  return { stage, revocations, authority, stop: end };
}

/** What `openssl verify -crl_check_all` says at the time of the test's clock. */
async function verify(svid: X509Svid, bundle: TrustBundle, now: number): Promise<string> {
  await using folder = await tempFolder();
  const files = {
    'roots.pem': bundle.x509Authorities.map((der) => pemEncode('CERTIFICATE', der)),
    'svid.pem': svid.certificateChain.map((der) => pemEncode('CERTIFICATE', der)),
    'crls.pem': (bundle.revocationLists ?? []).map(
      (der) => `-----BEGIN X509 CRL-----\n${Buffer.from(der).toString('base64')}\n-----END X509 CRL-----\n`,
    ),
  };
  for (const [name, blocks] of Object.entries(files)) await writeFile(join(folder.path, name), blocks.join(''));
  const options = ['-x509_strict', '-crl_check_all', '-attime', String(Math.floor(now / 1000))];
  const args = ['verify', ...options, '-CAfile', 'roots.pem', '-CRLfile', 'crls.pem', 'svid.pem'];
  try {
    return (await openssl('openssl', args, { cwd: folder.path })).stdout;
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
}

const serial = ({ serial: text }: X509Svid) =>
  ({ target: { kind: 'serial', serial: text }, reason: 'key_compromise' }) as const;

async function crlNumber(der: Uint8Array): Promise<number> {
  await using folder = await tempFolder();
  await writeFile(join(folder.path, 'crl'), der);
  const { stdout } = await openssl('openssl', [
    'crl',
    '-inform',
    'DER',
    '-in',
    join(folder.path, 'crl'),
    '-noout',
    '-crlnumber',
  ]);
  return Number(/0x[0-9A-F]+/i.exec(stdout)?.[0]);
}

for (const keyType of ['ec-p256', 'ec-p384', 'rsa-2048'] as const) {
  test(`openssl refuses what is revoked, and nothing else, under CAs of ${keyType}`, async () => {
    const opened = await open(createAuthorityStage({ keyType }));
    const { stage, revocations, authority } = opened;
    const good = await authority.issueX509Svid({ spiffeId: ORDERS });
    const bad = await authority.issueX509Svid({ spiffeId: ORDERS });
    assert.equal(authority.bundle.value.revocationLists, undefined, 'no list before something is revoked');
    await revocations.revoke(serial(bad));
    // RSA signs on another thread.
    await waitUntil('the list', 5000, () => authority.bundle.value.revocationLists?.length === 1);
    const { value } = authority.bundle;
    for (const now of [stage.clock.now(), stage.clock.now() + HOUR - 1000, good.notBefore]) {
      assert.match(await verify(good, value, now), /: OK/);
      assert.match(await verify(bad, value, now), /certificate revoked/);
    }
    await opened.stop();
  });
}

test('each root of the bundle has a list: the prepared one before it is published, the old ones while their SVIDs live', async () => {
  const opened = await open(createAuthorityStage());
  const { stage, revocations, authority } = opened;
  const bad = await authority.issueX509Svid({ spiffeId: ORDERS, ttlMs: 20 * HOUR });
  await revocations.revoke(serial(bad));
  await stage.clock.advance(0);
  const bundles: TrustBundle[] = [];
  authority.bundle.subscribe((bundle) => bundles.push(bundle));
  const living: X509Svid[] = [];
  for (let hour = 0; hour < 60; hour += 1) {
    await stage.clock.advance(HOUR);
    living.push(await authority.issueX509Svid({ spiffeId: ORDERS, ttlMs: 3 * HOUR }));
  }
  assert.ok(bundles.some(({ x509Authorities }) => x509Authorities.length === 3));
  for (const { x509Authorities, revocationLists } of bundles) {
    assert.equal(revocationLists?.length, x509Authorities.length);
  }
  for (const svid of living.slice(-2)) {
    assert.match(await verify(svid, authority.bundle.value, stage.clock.now()), /: OK/);
  }
  await opened.stop();
});

test('numbers of lists only grow, also over restarts, and lists are the same after one', async () => {
  const stage = createAuthorityStage();
  let opened = await open(stage);
  const svids = await Promise.all([1, 2, 3].map(() => opened.authority.issueX509Svid({ spiffeId: ORDERS })));
  let last = 0;
  for (const svid of svids) {
    await opened.revocations.revoke(serial(svid));
    await stage.clock.advance(0);
    const [list] = opened.authority.bundle.value.revocationLists ?? [];
    const number = await crlNumber(list!);
    assert.ok(number > last);
    last = number;
    await opened.stop();
    opened = await open(stage);
    assert.deepEqual(
      opened.authority.bundle.value.revocationLists?.map((der) => Buffer.from(der)),
      [Buffer.from(list!)],
    );
  }
  await opened.stop();
});

test('what is undone is taken again, and with the last revocation the lists go', async () => {
  const opened = await open(createAuthorityStage());
  const { stage, revocations, authority } = opened;
  const [one, two] = [
    await authority.issueX509Svid({ spiffeId: ORDERS }),
    await authority.issueX509Svid({ spiffeId: ORDERS }),
  ];
  const first = await revocations.revoke(serial(one));
  const second = await revocations.revoke(serial(two));
  await revocations.undo(first.id);
  await stage.clock.advance(0);
  assert.match(await verify(one, authority.bundle.value, stage.clock.now()), /: OK/);
  assert.match(await verify(two, authority.bundle.value, stage.clock.now()), /certificate revoked/);
  await revocations.undo(second.id);
  await stage.clock.advance(0);
  assert.equal(authority.bundle.value.revocationLists, undefined);
  await opened.stop();
});

test('while the key manager is away the last lists stay; none appear that are not complete', async () => {
  const stage = createAuthorityStage();
  let isAway = false;
  const { keyManager } = stage;
  const flaky: typeof keyManager = {
    ...keyManager,
    async generate(id, type) {
      const key = await keyManager.generate(id, type);
      const sign = (data: Uint8Array): Promise<Uint8Array> =>
        isAway ? Promise.reject(new SvidgateError('key_manager_failed', 'away')) : key.sign(data);
      return { ...key, sign };
    },
  };
  const opened = await open(stage, { keyManager: flaky });
  const { revocations, authority } = opened;
  const [one, two] = [
    await authority.issueX509Svid({ spiffeId: ORDERS }),
    await authority.issueX509Svid({ spiffeId: ORDERS }),
  ];
  isAway = true;
  await revocations.revoke(serial(one));
  await stage.clock.advance(0);
  assert.equal(authority.bundle.value.revocationLists, undefined);
  isAway = false;
  await stage.clock.advance(61_000);
  const before = authority.bundle.value;
  assert.match(await verify(one, before, stage.clock.now()), /certificate revoked/);
  isAway = true;
  await revocations.revoke(serial(two));
  await stage.clock.advance(0);
  assert.equal(authority.bundle.value, before);
  isAway = false;
  await stage.clock.advance(61_000);
  assert.match(await verify(two, authority.bundle.value, stage.clock.now()), /certificate revoked/);
  await opened.stop();
});
