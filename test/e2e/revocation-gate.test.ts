/** What each kind of revocation does to issuing and at the gate, with real Envoys; the table of the threat model. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseCertificate, splitDer } from '../../src/pki/index.ts';
import { Secret, unpackAny, type X509SvidResponse } from '../../src/proto/index.ts';
import { configFolder, serve } from '../support/cli.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { MAX_CONNECTION_MS, startOrdersEnvoy, startWebEnvoy } from '../support/mesh-envoys.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, OWN_SELECTOR, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity, getOnce, identityOf, tlsPeer, type PeerIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';
import { connectWorkload, refusalOf, type AnswerStream } from '../support/workload-client.ts';

const WEB = 'spiffe://example.test/web';
const OTHER = 'spiffe://example.test/other';
const ENTRIES = entriesFor('/orders', '/web', '/other');

/** Whoever is verified may come in; by the second policy, anybody at all. */
const FILES = {
  'verified.rego': 'package envoy.authz\n\ndefault allow := false\n\nallow if input.svidgate.peer.verified\n',
  'anybody.rego': 'package envoy.authz\n\nallow := true\n',
};
const AUTHZ = (more = ''): string => `authz:
  listen: unix:./authz.sock
  policies: { default: { path: ./verified.rego }, anybody: { path: ./anybody.rego } }
${more}`;

async function startServer(options: { readonly authz?: string; readonly entries?: string } = {}): Promise<TestServer> {
  return await startTestServer({
    entries: options.entries ?? ENTRIES,
    config: AUTHZ(options.authz ?? ''),
    files: FILES,
  });
}

interface Revoked {
  readonly revocation_id: string;
}

/** Whether the gate lets a request of this peer pass. Without a certificate Envoy names the peer by its ID alone. */
async function isAllowed(
  gate: RawClient,
  peer: { readonly cert?: string; readonly principal: string },
  policy = 'default',
): Promise<boolean> {
  const { status } = await gate.check({
    attributes: {
      source: { principal: peer.principal, certificate: encodeURIComponent(peer.cert ?? '') },
      request: { http: { method: 'GET', path: '/' } },
      contextExtensions: { 'svidgate.policy': policy },
    },
  });
  return status?.code === 0;
}

/** The serials of each answer that came, in the order of their SPIFFE IDs. */
function serialsOf({ svids }: X509SvidResponse): readonly string[] {
  return svids.flatMap(({ x509Svid }) => splitDer(x509Svid).slice(0, 1)).map((der) => parseCertificate(der).serial);
}

async function answersUntil<T>(stream: AnswerStream<T>, isLast: (answer: T) => boolean): Promise<readonly T[]> {
  const answers: T[] = [];
  for (;;) {
    const answer = await stream.next();
    answers.push(answer);
    if (isLast(answer)) return answers;
  }
}

describe('svid revoke --serial', { timeout: 120_000 }, () => {
  test('denies it at the next request of an open connection; its holder has a fresh one and goes on', async (t) => {
    await using server = await startServer();
    await using orders = await startOrdersEnvoy(server);
    await using web = await startWebEnvoy(server, orders);
    const run = cliOf(server);
    const throughEnvoys = async (port: number): Promise<number> =>
      (await fetch(`http://${web.address}:${port}`)).status;
    for (const port of Object.values(web.ports)) assert.equal(await throughEnvoys(port), 200);

    const [revoked, other] = [await fetchIdentity(server.socket, WEB), await fetchIdentity(server.socket, OTHER)];
    const gated = { address: orders.address, port: orders.ports.gated };
    using peer = tlsPeer(gated, revoked);
    using otherPeer = tlsPeer(gated, other);
    for (const open of [peer, otherPeer]) assert.equal(await open.get('/'), 200);

    using sds = connect(server.socket);
    using workload = connectWorkload(server.socket);
    const held = await watchHolders(sds, workload);
    const { revocation_id: id } = (await run.json('svid', 'revoke', '--serial', revoked.serial)) as Revoked;
    const returnedAt = performance.now();
    assert.equal(await peer.get('/'), 403, 'the first request after the command has returned');
    t.diagnostic(`denied ${Math.round(performance.now() - returnedAt)} ms after the command returned`);
    assert.equal(peer.connections, 1);
    assert.equal(await otherPeer.get('/'), 200);

    const fresh = await held.next();
    t.diagnostic(`the holder was told ${Math.round(performance.now() - returnedAt)} ms after the command returned`);
    assert.notEqual(fresh, revoked.serial);
    await held.assertNoGap(revoked.serial, fresh);
    await waitUntil('Envoy to hold the fresh SVID', 5000, async () =>
      (await web.envoy.certs()).some(({ serial, uris }) => uris.includes(WEB) && serial.replace(/^0+/, '') === fresh),
    );
    const limit = MAX_CONNECTION_MS + 3000;
    for (const port of Object.values(web.ports)) {
      await waitUntil('requests through both Envoys', limit, async () => (await throughEnvoys(port)) === 200);
    }
    t.diagnostic(`requests of the holder pass again ${Math.round(performance.now() - returnedAt)} ms after`);

    await run.text('svid', 'unrevoke', id);
    assert.equal(await peer.get('/'), 200, 'on the same connection');
    assert.equal(peer.connections, 1);
  });

  test('where Envoy sends no certificate the whole SPIFFE ID is denied, and no other', async () => {
    await using server = await startServer();
    const run = cliOf(server);
    using gate = connect(server.gate);
    const { serial, cert } = await fetchIdentity(server.socket, WEB);
    assert.equal(await isAllowed(gate, { principal: WEB }, 'anybody'), true);
    await run.json('svid', 'revoke', '--serial', serial);
    const fresh = await fetchIdentity(server.socket, WEB);
    const cases: readonly (readonly [{ readonly cert?: string; readonly principal: string }, boolean])[] = [
      [{ principal: WEB }, false],
      [{ principal: WEB, cert: 'not a certificate' }, false],
      [{ principal: WEB, cert }, false],
      [{ principal: WEB, cert: fresh.cert }, true],
      [{ principal: OTHER }, true],
      [{ principal: '' }, true],
    ];
    for (const [peer, expected] of cases) {
      assert.equal(await isAllowed(gate, peer, 'anybody'), expected, JSON.stringify(peer).slice(0, 80));
    }
  });
});

/** Follows the SVID of /web as SDS and as the Workload API give it. */
async function watchHolders(sds: RawClient, workload: ReturnType<typeof connectWorkload>) {
  const secrets = sds.streamSecrets();
  secrets.send({ resourceNames: [WEB] });
  const svids = workload.x509Svids();
  const first = await secrets.next();
  secrets.ack(first, [WEB]);
  const before = serialsOf(await svids.next());
  return {
    async next(): Promise<string> {
      const { resources } = await secrets.next();
      assert.equal(resources.length, 1, 'an answer without an SVID');
      return identityOf(unpackAny(Secret, resources[0]!, 1024 * 1024)).serial;
    },
    /** No answer had fewer SVIDs than before, or the revoked one; the last one has the fresh one. */
    async assertNoGap(revoked: string, fresh: string): Promise<void> {
      for (const answer of await answersUntil(svids, (one) => serialsOf(one).includes(fresh))) {
        const serials = serialsOf(answer);
        assert.equal(serials.length, before.length, 'an answer without an SVID');
        assert.ok(!serials.includes(revoked), 'what is revoked was given once more');
      }
      svids.cancel();
      secrets.cancel();
      await svids.ended;
    },
  };
}

describe('svid revoke --spiffe-id', { timeout: 120_000 }, () => {
  test('nothing is issued for it, nothing of it is believed, and no policy lets it in, until it is undone', async () => {
    await using server = await startServer();
    await using orders = await startOrdersEnvoy(server);
    const run = cliOf(server);
    using sds = connect(server.socket);
    using workload = connectWorkload(server.socket);
    using gate = connect(server.gate);
    const identity = await fetchIdentity(server.socket, WEB);
    using peer = tlsPeer({ address: orders.address, port: orders.ports.gated }, identity);
    const jwt = async (): Promise<string> =>
      (await workload.jwtSvids({ audience: ['a'], spiffeId: WEB })).svids[0]?.svid ?? '';
    const token = await jwt();
    const secrets = sds.streamSecrets();
    secrets.send({ resourceNames: [WEB] });
    await secrets.next();
    assert.equal(await peer.get('/'), 200);

    const { revocation_id: id } = (await run.json('svid', 'revoke', '--spiffe-id', WEB)) as Revoked;
    assert.equal(await peer.get('/'), 403);
    assert.equal(peer.connections, 1);
    for (const policy of ['default', 'anybody', 'unheard-of']) {
      for (const cert of [identity.cert, undefined]) {
        const shown = { principal: WEB, ...(cert === undefined ? {} : { cert }) };
        assert.equal(await isAllowed(gate, shown, policy), false, policy);
      }
    }
    assert.equal(await isAllowed(gate, { principal: OTHER }, 'anybody'), true);
    assert.match((await secrets.ended).details, /not authorized/);
    await assert.rejects(fetchIdentity(server.socket, WEB), /not authorized/);
    assert.equal((await refusalOf(jwt()))[0], 'PERMISSION_DENIED');
    const [, why] = await refusalOf(workload.validate({ audience: 'a', svid: token }));
    assert.match(why, /revoked/);
    assert.ok((await fetchIdentity(server.socket, OTHER)).serial !== '', 'others are served');

    await run.text('svid', 'unrevoke', id);
    assert.equal(await peer.get('/'), 200);
    assert.equal((await workload.validate({ audience: 'a', svid: token })).spiffeId, WEB);
    assert.notEqual(await jwt(), '');
    assert.notEqual((await fetchIdentity(server.socket, WEB)).serial, '');
  });
});

for (const denies of [true, false]) {
  test(`an entry that goes ends issuing, and at the gate ${denies ? 'denies with' : 'nothing without'} deny_unregistered`, async () => {
    await using server = await startServer({
      authz: `  deny_unregistered: ${denies}\n`,
      entries: entriesFor('/orders', '/other'),
    });
    await using orders = await startOrdersEnvoy(server);
    const run = cliOf(server);
    const created = await run.json('entry', 'create', '--spiffe-id', WEB, '--selector', OWN_SELECTOR);
    const { entry_id: entryId } = created as { readonly entry_id: string };
    const identity = await fetchIdentity(server.socket, WEB);
    using peer = tlsPeer({ address: orders.address, port: orders.ports.gated }, identity);
    assert.equal(await peer.get('/'), 200);
    await run.text('entry', 'delete', entryId);
    assert.equal(await peer.get('/'), denies ? 403 : 200);
    await assert.rejects(fetchIdentity(server.socket, WEB), /not authorized/);
    const own = { address: orders.address, port: orders.ports.own };
    assert.equal(await getOnce(own, identity), 200, 'half a file must not revoke a fleet');
  });
}

test('a federated trust domain that is removed: its peers are not verified, and Envoy shakes hands no more', async () => {
  await using partner = await startTestServer({
    config: 'trust_domain: partner.test',
    entries: entriesFor('/peer').replaceAll('example.test', 'partner.test'),
  });
  const entries = JSON.parse(ENTRIES) as { entries: { federates_with?: string[] }[] };
  for (const entry of entries.entries) entry.federates_with = ['partner.test'];
  await using server = await startServer({ entries: JSON.stringify(entries) });
  const run = cliOf(server);
  const bundle = await cliOf(partner).text('bundle', 'show', '--format', 'spiffe');
  const file = await server.file('partner.json', bundle);
  await run.text('bundle', 'set', 'partner.test', file);
  await using orders = await startOrdersEnvoy(server);
  const foreign = await fetchIdentity(partner.socket, 'spiffe://partner.test/peer');
  using gate = connect(server.gate);
  const all = { address: orders.address, port: orders.ports.all };
  const isVerified = (): Promise<boolean> =>
    isAllowed(gate, { principal: 'spiffe://partner.test/peer', cert: foreign.cert });
  assert.equal(await getOnce(all, foreign), 200);
  assert.equal(await isVerified(), true);
  await run.text('bundle', 'delete', 'partner.test');
  assert.equal(await isVerified(), false);
  await waitUntil('Envoy to refuse it', 5000, async () => (await getOnce(all, foreign)) === 0);
  const own = await fetchIdentity(server.socket, OTHER);
  assert.equal(await getOnce(all, own), 200);
  await run.text('bundle', 'set', 'partner.test', file);
  assert.equal(await isVerified(), true);
  await waitUntil('Envoy to take it again', 5000, async () => (await getOnce(all, foreign)) === 200);
});

test('revocations are kept over kill -9 at any moment, listed, and undone for good', { timeout: 120_000 }, async () => {
  await using folder = await configFolder(`entries: ./entries.yaml\n${AUTHZ()}`);
  for (const [name, text] of Object.entries(FILES)) await writeFile(join(folder.path, name), text);
  await writeFile(join(folder.path, 'entries.yaml'), ENTRIES);
  const at = { folder: folder.path };
  const [socket, gateSocket] = ['api.sock', 'authz.sock'].map((name) => `unix:${join(folder.path, name)}`) as [
    string,
    string,
  ];
  const listed = async (): Promise<readonly string[]> => {
    const { revocations } = (await cliOf(at).json('svid', 'revocations')) as {
      readonly revocations: readonly Revoked[];
    };
    return revocations.map(({ revocation_id: id }) => id);
  };
  const made: string[] = [];
  let identity: PeerIdentity | undefined;
  const isDenied = async (): Promise<void> => {
    using gate = connect(gateSocket);
    assert.equal(await isAllowed(gate, { principal: WEB, cert: identity?.cert ?? '' }), false);
    assert.equal(await isAllowed(gate, { principal: OTHER }, 'anybody'), false);
    await assert.rejects(fetchIdentity(socket, OTHER), /not authorized/);
  };
  {
    await using server = serve(folder.path);
    await server.started();
    identity = await fetchIdentity(socket, WEB);
    using gate = connect(gateSocket);
    assert.equal(await isAllowed(gate, { principal: WEB, cert: identity.cert }), true);
    for (const args of [
      ['--serial', identity.serial, '--reason', 'key_compromise'],
      ['--spiffe-id', OTHER],
    ]) {
      made.push(((await cliOf(at).json('svid', 'revoke', ...args)) as Revoked).revocation_id);
    }
    server.child.kill('SIGKILL');
    await once(server.child, 'close');
  }
  {
    await using server = serve(folder.path);
    await server.started();
    assert.deepEqual(await listed(), made);
    await isDenied();
    assert.equal((await fetchIdentity(socket, WEB)).serial === identity.serial, false);
    for (const id of made) await cliOf(at).text('svid', 'unrevoke', id);
    server.child.kill('SIGKILL');
    await once(server.child, 'close');
  }
  await using server = serve(folder.path);
  await server.started();
  assert.deepEqual(await listed(), []);
  using gate = connect(gateSocket);
  assert.equal(await isAllowed(gate, { principal: WEB, cert: identity.cert }), true);
  assert.notEqual((await fetchIdentity(socket, OTHER)).serial, '');
});
