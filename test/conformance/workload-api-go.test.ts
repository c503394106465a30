import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { askClient, BUILD_LIMIT_MS, buildGo, startClient, type ClientProgram } from '../support/conformance-client.ts';
import { freeLoopbackAddress, freePorts } from '../support/envoy-address.ts';
import { linkEnvoy, startEnvoy } from '../support/envoy.ts';
import { ADMIN_ID, startFederatedServer, WEB_ID } from '../support/federated-server.ts';
import { mtlsBootstrap } from '../support/mtls-envoy.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';

function byId(one: readonly unknown[], other: readonly unknown[]): number {
  return String(one[0]).localeCompare(String(other[0]));
}

describe('go-spiffe', { timeout: BUILD_LIMIT_MS }, () => {
  let go: ClientProgram;
  before(
    async () => {
      go = { command: await buildGo('go') };
    },
    { timeout: BUILD_LIMIT_MS },
  );

  it('takes the X.509 context with hints, DNS names and foreign roots, and each change of it', async () => {
    await using stage = await startFederatedServer();
    const { server } = stage;
    await using client = startClient(go, server.socket, 'watch');
    const first = await client.next();
    const shown = (answer: typeof first): unknown =>
      (answer['svids'] as readonly Record<string, unknown>[]).map(({ id, hint, dns }) => [id, hint, dns]).sort(byId);
    assert.deepEqual(shown(first), [
      [ADMIN_ID, '', null],
      [WEB_ID, 'internal', ['web.example.test']],
    ]);
    assert.deepEqual(first['roots'], { 'example.test': 1, 'other.test': 1 });
    await server.write('entries.yaml', entriesFor('/new'));
    assert.deepEqual(shown(await client.next()), [['spiffe://example.test/new', '', null]]);
    await server.write('entries.yaml', '{"entries":[]}');
    assert.match(String((await client.next())['error']), /PermissionDenied.*no identity issued/);
  });

  it('takes tokens that it checks itself and has checked, and refuses what the server refuses', async () => {
    await using stage = await startFederatedServer();
    const { server, other } = stage;
    const answer = await askClient(go, server.socket, 'jwt', 'api', WEB_ID);
    assert.deepEqual([answer['here'], answer['there']], [WEB_ID, WEB_ID]);
    assert.ok(Number(answer['life']) > 290 && Number(answer['life']) <= 301, `${String(answer['life'])} s`);
    const refused = await askClient(go, server.socket, 'validate', 'other', String(answer['token']));
    assert.match(String(refused['error']), /InvalidArgument.*expected audience in \["other"\] \(audience=\["api"\]\)/);
    const exp = Math.floor(Date.now() / 1000) + 60;
    const foreign = await other.signToken({ sub: 'spiffe://other.test/x', aud: ['api'], exp, team: 'x' });
    // go-spiffe takes the claims from the token itself.
    assert.equal((await askClient(go, server.socket, 'validate', 'api', foreign))['id'], 'spiffe://other.test/x');
    const denied = await askClient(go, server.socket, 'jwt', 'api', 'spiffe://example.test/nobody');
    assert.match(String(denied['error']), /PermissionDenied.*no identity issued/);
  });

  it('takes the bundles of both kinds, the foreign ones too', async () => {
    await using stage = await startFederatedServer();
    const { server } = stage;
    const both = { 'example.test': 1, 'other.test': 1 };
    assert.deepEqual(await askClient(go, server.socket, 'bundles'), { roots: both, keys: both });
  });

  it('speaks mTLS with Envoy in both directions, each with an SVID of svidgate', async () => {
    const [goId, envoyId] = ['spiffe://example.test/go', 'spiffe://example.test/envoy'];
    await using folder = await tempFolder();
    const executable = await linkEnvoy(folder.path, 'envoy');
    const entries = [
      { spiffe_id: goId, selectors: [`unix:path:${go.command}`] },
      { spiffe_id: envoyId, selectors: [`unix:path:${executable}`] },
    ];
    const config = 'attestation: { unix: { discover_workload_path: true } }';
    await using server = await startTestServer({ entries: JSON.stringify({ entries }), config });
    const address = await freeLoopbackAddress();
    const [adminPort = 0, inPort = 0, outPort = 0, upstreamPort = 0] = await freePorts(address, 4);
    await using peer = startClient(go, server.socket, 'serve', `${address}:${upstreamPort}`, envoyId);
    await peer.next();
    const ports = { address, adminPort, inPort, outPort, upstreamPort };
    const bootstrap = mtlsBootstrap({ ...ports, socket: server.socket, envoyId, peerId: goId });
    const envoy = await startEnvoy({ name: 'mtls', dir: folder.path, bootstrap, executable });
    try {
      const inward = await askClient(go, server.socket, 'get', `https://${address}:${inPort}/`, envoyId);
      assert.deepEqual(inward, { status: 200, body: 'inward' });
      const posing = await askClient(go, server.socket, 'get', `https://${address}:${inPort}/`, goId);
      assert.match(String(posing['error']), /unexpected ID "spiffe:\/\/example.test\/envoy"/);
      const outward = await fetch(`http://${address}:${outPort}/`);
      assert.equal(await outward.text(), envoyId);
    } finally {
      await envoy.stop();
    }
  });
});
