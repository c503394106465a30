/** What svidgate stands on goes away: what was issued goes on, bundles stay served, and a warning comes in time. */
import assert from 'node:assert/strict';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { connect } from '../support/grpc-client.ts';
import { startOpenBao } from '../support/open-bao.ts';
import { makeOutsideCa } from '../support/outside-ca.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { assertServedSvid } from '../support/served-svid.ts';
import { entriesFor, OWN_SELECTOR } from '../support/server.ts';
import { fetchIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';
import { connectWorkload, refusalOf } from '../support/workload-client.ts';

const WEB = 'spiffe://example.test/web';
const ENTRIES = { 'entries.yaml': entriesFor('/web') };
const LIVES = 'ca_ttl: 24s, x509_svid_ttl: 8s, jwt_svid_ttl: 8s, ack_timeout: 0s';
const POLICY = 'package envoy.authz\n\ndefault allow := false\n\nallow if input.svidgate.peer.verified\n';
const GATE = 'authz: { listen: unix:./authz.sock, policies: { default: { path: ./authz.rego } } }\n';

/** Log lines of this text and level or worse. */
function linesOf(server: RestartableServer, message: RegExp, level = /warn|error/): readonly object[] {
  return server.lines.filter((line) => message.test(line.message) && level.test(line.level));
}

async function ownBundle(server: RestartableServer): Promise<string> {
  using client = connectWorkload(server.socket);
  const stream = client.x509Bundles();
  const { bundles } = await stream.next();
  stream.cancel();
  await stream.ended;
  return Buffer.from(bundles['spiffe://example.test'] ?? []).toString('base64');
}

async function isAllowed(server: RestartableServer, cert: string): Promise<boolean> {
  using gate = connect(server.gate);
  const { status } = await gate.check({
    attributes: {
      source: { principal: WEB, certificate: encodeURIComponent(cert) },
      request: { http: { method: 'GET', path: '/' } },
    },
  });
  return status?.code === 0;
}

/** The end of the CA that signs, in epoch milliseconds. */
async function caEnd(server: RestartableServer): Promise<number> {
  return (await server.metric('svidgate_authority_expiry_seconds{kind="x509"}')) * 1000;
}

test('the files of the upstream CA are gone: issuing goes on, also after a restart, until they are back', async (t) => {
  await using server = await restartableServer({
    config: `entries: ./entries.yaml\nauthority: { ${LIVES}, upstream: { disk: { certificate: ./root.pem, key: ./root.key } } }\n${GATE}`,
    files: { ...ENTRIES, 'authz.rego': POLICY },
  });
  await makeOutsideCa(server.folder, { name: 'root' });
  await server.start();
  const bundle = await ownBundle(server);
  const move = async (from: string, to: string): Promise<void> => {
    for (const ending of ['pem', 'key']) {
      await rename(join(server.folder, `${from}.${ending}`), join(server.folder, `${to}.${ending}`));
    }
  };
  await move('root', 'away');
  const first = await assertServedSvid(join(server.folder, 'api.sock'), { intermediates: 1 });
  await server.stop();
  await server.start();
  assert.equal(await ownBundle(server), bundle);
  assert.notEqual(await assertServedSvid(join(server.folder, 'api.sock'), { intermediates: 1 }), first);
  const { cert } = await fetchIdentity(server.socket, WEB);
  assert.equal(
    await isAllowed(server, cert.slice(0, cert.indexOf('-----END') + 26)),
    true,
    'Envoy passes the leaf alone',
  );

  const end = await caEnd(server);
  await waitUntil('the warning', 30_000, () => linesOf(server, /ca rotation failed/).length > 0);
  const left = end - Date.now();
  t.diagnostic(`warned ${Math.round(left / 1000)} s before the end of a CA that lives for 24 s`);
  assert.ok(left > 6000, 'a quarter of its life is left');
  await assertServedSvid(join(server.folder, 'api.sock'), { intermediates: 1 });
  await move('away', 'root');
  await waitUntil('the next CA', 40_000, async () => (await caEnd(server)) > end);
  await assertServedSvid(join(server.folder, 'api.sock'), { intermediates: 1 });
});

const faults = [
  { fault: 'stopped', ttl: '40s', limitMs: 45_000 },
  { fault: 'frozen', ttl: '90s', limitMs: 75_000 }, // a call takes 10 s to fail, a start as well, and the SVID must outlive both
] as const;

for (const { fault, ttl, limitMs } of faults) {
  test(`the transit engine is ${fault}: who holds an SVID keeps it, bundles are served, also after a restart`, async (t) => {
    await using bao = await startOpenBao();
    await bao.call('POST', 'sys/mounts/transit', { type: 'transit' });
    const vault = `vault: { address: "${bao.address}", auth: { token_file: ./token } }`;
    await using server = await restartableServer({
      config: `entries: ./entries.yaml\nauthority: { ca_ttl: 10m, x509_svid_ttl: ${ttl}, key_manager: { ${vault} } }\n${GATE}`,
      files: { ...ENTRIES, token: bao.rootToken, 'authz.rego': POLICY },
    });
    await server.start();
    using holder = connectWorkload(server.socket);
    const held = holder.x509Svids();
    await held.next();
    const { cert } = await fetchIdentity(server.socket, WEB);
    const bundle = await ownBundle(server);

    if (fault === 'stopped') await bao.stop();
    else bao.freeze();
    const failed = 'svidgate_svids_issued_total{type="x509",result="failed"}';
    assert.equal(await ownBundle(server), bundle);
    assert.equal(await isAllowed(server, cert), true);
    assert.equal((await fetchIdentity(server.socket, WEB)).cert, cert, 'the SVID that is there is given to all');
    await waitUntil('the warning', limitMs, () => linesOf(server, /svid rotation failed/).length > 0);
    assert.ok((await server.metric(failed)) > 0);
    assert.equal(held.waiting, 0, 'nothing worse is pushed to its holder');
    held.cancel();
    await held.ended;

    await server.stop();
    const startedAt = performance.now();
    await server.start();
    t.diagnostic(`started without it in ${Math.round(performance.now() - startedAt)} ms`);
    assert.equal(await ownBundle(server), bundle);
    assert.equal(await isAllowed(server, cert), true);
    using client = connectWorkload(server.socket);
    assert.equal((await refusalOf(client.x509Svids().next()))[0], 'UNAVAILABLE');
    using sds = connect(server.socket);
    const secrets = sds.streamSecrets();
    secrets.send({ resourceNames: [WEB] });

    if (fault === 'stopped') await bao.start();
    else bao.thaw();
    const { resources } = await secrets.next(); // without another request
    assert.equal(resources.length, 1);
    secrets.cancel();
    await assertServedSvid(join(server.folder, 'api.sock'), { intermediates: 0 });
  });
}

test('the database cannot be written: identities are issued and decided on, changes are refused and none is lost', async (t) => {
  await using server = await restartableServer({
    config: `entries: ./entries.yaml\nauthority: { ca_ttl: 60s, x509_svid_ttl: 60s, ack_timeout: 0s }\n${GATE}`,
    files: { 'entries.yaml': entriesFor(), 'authz.rego': POLICY },
  });
  await server.start();
  const run = cliOf(server);
  const create = (path: string): ReturnType<typeof run> =>
    run('entry', 'create', '--spiffe-id', `spiffe://example.test${path}`, '--selector', OWN_SELECTOR);
  assert.equal((await create('/web')).code, 0);
  const bundle = await ownBundle(server);
  const database = new DatabaseSync(join(server.folder, 'data/datastore/svidgate.db'));
  try {
    database.exec('BEGIN IMMEDIATE'); // as another process that does not let go of it
    const { serial, cert } = await fetchIdentity(server.socket, WEB);
    const askedAt = performance.now();
    for (const { code, err } of await Promise.all([create('/lost'), run('svid', 'revoke', '--serial', serial)])) {
      assert.deepEqual([code, /datastore_failed/.test(err)], [1, true], err);
    }
    t.diagnostic(`changes were refused after ${Math.round(performance.now() - askedAt)} ms`);
    assert.equal(await isAllowed(server, cert), true, 'a revocation that was refused is not in force');
    assert.equal(await ownBundle(server), bundle);
    await server.write('entries.yaml', entriesFor('/fresh'));
    await waitUntil('an SVID for a new entry', 20_000, () =>
      fetchIdentity(server.socket, 'spiffe://example.test/fresh'),
    );
    const end = await caEnd(server);
    await waitUntil('the warning', 60_000, () => linesOf(server, /ca rotation failed/).length > 0);
    t.diagnostic(`warned ${Math.round((end - Date.now()) / 1000)} s before the end of a CA that lives for 60 s`);
    assert.ok(end - Date.now() > 3000);
    database.exec('ROLLBACK');
    await waitUntil('the next CA', 60_000, async () => (await caEnd(server)) > end);
  } finally {
    database.close();
  }
  assert.equal((await create('/later')).code, 0);
  await server.stop();
  await server.start();
  const { entries } = (await run.json('entry', 'list')) as {
    readonly entries: readonly { readonly spiffe_id: string }[];
  };
  const expected = ['fresh', 'later', 'web'].map((name) => `spiffe://example.test/${name}`);
  assert.deepEqual(entries.map(({ spiffe_id: id }) => id).sort(), expected);
});
