/** The gate's own TLS: an SVID of its own, and callers by their certificates. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { structToJson, type CheckResponse } from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { presentedSvid } from '../support/presented-svid.ts';
import { cliOf, type ServerCli } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity, type PeerIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Shows what it knows. */
const POLICY = `package envoy.authz

allow := {"allowed": true, "headers": {"x-svidgate": json.marshal({
	"caller": input.svidgate.caller,
	"peer": input.svidgate.peer,
})}}
`;
const ID = 'spiffe://example.test';
const GATE = `${ID}/gate`;
const CONFIG = `authz:
  listen: unix:./gate.sock
  policies: { default: { path: ./authz.rego }, other: { path: ./authz.rego } }
  listeners:
    mesh:
      listen: 127.0.0.1:0
      tls: { spiffe_id: ${GATE} }
      callers: [{ spiffe_id: ${ID}/edge/**, policies: [default] }, { spiffe_id: ${ID}/later }]
`;
const ENTRIES = ['/edge/one', '/edge/two', '/other', '/peer', '/later'];

interface Stage {
  readonly server: TestServer;
  readonly svidgate: ServerCli;
  readonly mesh: string;
  readonly roots: string;
}

async function open(): Promise<Stage> {
  const server = await startTestServer({
    entries: entriesFor(...ENTRIES),
    config: CONFIG,
    files: { 'authz.rego': POLICY },
  });
  const svidgate = cliOf(server);
  const roots = await svidgate.text('bundle', 'show', '--format', 'pem');
  return { server, svidgate, roots, mesh: server.running.addresses['gate:mesh'] ?? '' };
}

function connectAs({ mesh, roots }: Stage, identity?: PeerIdentity): RawClient {
  const [key, cert] = identity === undefined ? [] : [Buffer.from(identity.key), Buffer.from(identity.cert)];
  // An SVID has no DNS name; whose it is says the URI.
  const checkServerIdentity = (
    _host: string,
    { subjectaltname }: { readonly subjectaltname?: string },
  ): Error | undefined => (subjectaltname === `URI:${GATE}` ? undefined : new Error(`not the gate: ${subjectaltname}`));
  return connect(mesh, credentials.createSsl(Buffer.from(roots), key, cert, { checkServerIdentity }));
}

async function send(client: RawClient, certificate = '', policy?: string): Promise<CheckResponse> {
  const contextExtensions: Record<string, string> = policy === undefined ? {} : { 'svidgate.policy': policy };
  const request = { http: { method: 'GET', path: '/' } };
  return client.check({ attributes: { source: { certificate }, contextExtensions, request } }, { timeoutMs: 5000 });
}

/** `allowed`, or the reason of an explicit deny. */
async function ask(client: RawClient, policy?: string): Promise<string> {
  const { status, dynamicMetadata } = await send(client, '', policy);
  if (status?.code === 0) return 'allowed';
  assert.equal(status?.code, 7);
  const { reason } = structToJson(dynamicMetadata!) as { readonly reason?: string };
  return reason ?? 'no reason';
}

/** The serial of the certificate that the gate shows at the moment; undefined when it shows none. */
async function shownSerial({ mesh, roots }: Stage, { cert, key }: PeerIdentity): Promise<string | undefined> {
  const [host = '', port = ''] = mesh.split(':');
  const target = {
    host,
    port: Number(port),
    servername: 'gate',
    ca: roots,
    cert,
    key,
    checkServerIdentity: () => undefined,
  };
  const socket = connectTls({ ...target, ALPNProtocols: ['h2'] });
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(5000) });
    const { raw } = socket.getPeerCertificate();
    return new X509Certificate(raw).serialNumber.toLowerCase().replace(/^0+/, '');
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

describe('the gate over mTLS', () => {
  let stage: Stage;
  const identityOf = (path: string): Promise<PeerIdentity> => fetchIdentity(stage.server.socket, `${ID}${path}`);
  before(async () => (stage = await open()));
  after(() => stage.server[Symbol.asyncDispose]());

  test('a caller on the list is proven by its certificate, as an attested one is', async () => {
    using client = connectAs(stage, await identityOf('/edge/one'));
    const { okResponse } = await send(client, await presentedSvid(stage.server.socket, `${ID}/peer`));
    const shown = okResponse?.headers[0]?.header?.value ?? '';
    const { caller, peer } = JSON.parse(shown) as {
      readonly caller: unknown;
      readonly peer: Readonly<Record<string, unknown>>;
    };
    assert.deepEqual(caller, { kind: 'tls', listener: 'gate:mesh', spiffe_ids: [`${ID}/edge/one`] });
    assert.equal(peer['verified'], true);
    assert.equal(peer['spiffe_id'], `${ID}/peer`);
  });

  test('it asks for the policies of its own line of the list', async () => {
    using edge = connectAs(stage, await identityOf('/edge/one'));
    using later = connectAs(stage, await identityOf('/later'));
    assert.equal(await ask(edge, 'other'), 'policy_not_allowed');
    assert.equal(await ask(edge, 'missing'), 'policy_not_allowed');
    assert.equal(await ask(later, 'other'), 'allowed');
  });

  test('nobody else gets a connection: not another SVID, not without one, not without TLS', async () => {
    for (const client of [connectAs(stage, await identityOf('/other')), connectAs(stage), connect(stage.mesh)]) {
      using _ = client;
      await assert.rejects(ask(client), { code: 14 });
    }
    assert.ok(stage.server.lines.some(({ reason }) => reason?.includes('not_a_caller') === true));
  });

  test('a caller that is revoked gets an explicit deny on its open connection, and no new one', async () => {
    const identity = await identityOf('/edge/two');
    using client = connectAs(stage, identity);
    using bystander = connectAs(stage, await identityOf('/edge/one'));
    assert.equal(await ask(client), 'allowed');
    const { revocation_id: id } = (await stage.svidgate.json('svid', 'revoke', '--spiffe-id', `${ID}/edge/two`)) as {
      readonly revocation_id: string;
    };
    assert.notEqual(await ask(client), 'allowed');
    using again = connectAs(stage, identity);
    await assert.rejects(ask(again), { code: 14 });
    assert.equal(await ask(bystander), 'allowed');
    await stage.svidgate.text('svid', 'unrevoke', id);
    using undone = connectAs(stage, identity);
    assert.equal(await ask(undone), 'allowed');
  });

  test('a caller whose serial is revoked is let in with its next SVID, and not with that one', async () => {
    const old = await identityOf('/edge/two');
    using client = connectAs(stage, old);
    assert.equal(await ask(client), 'allowed');
    await stage.svidgate.text('svid', 'revoke', '--serial', old.serial);
    assert.notEqual(await ask(client), 'allowed');
    const next = await waitUntil('another SVID of the caller', 5000, async () => {
      const identity = await identityOf('/edge/two');
      return identity.serial === old.serial ? undefined : identity;
    });
    using again = connectAs(stage, next);
    assert.equal(await ask(again), 'allowed');
  });

  test('the SVID of the gate is replaced when it is revoked, and no connection is lost', async () => {
    const identity = await identityOf('/edge/one');
    using client = connectAs(stage, identity);
    assert.equal(await ask(client), 'allowed');
    const before = await shownSerial(stage, identity);
    assert.ok(before !== undefined);
    await stage.svidgate.text('svid', 'revoke', '--serial', before);
    await waitUntil('another SVID of the gate', 5000, async () => {
      const now = await shownSerial(stage, identity);
      return now !== undefined && now !== before ? now : undefined;
    });
    assert.equal(await ask(client), 'allowed');
  });

  test('a gate whose SPIFFE ID is revoked shows nothing any more, and says so', async () => {
    const identity = await identityOf('/edge/one');
    using client = connectAs(stage, identity);
    assert.equal(await ask(client), 'allowed');
    const revoked = (await stage.svidgate.json('svid', 'revoke', '--spiffe-id', GATE)) as {
      readonly revocation_id: string;
    };
    assert.equal(await shownSerial(stage, identity), undefined);
    assert.equal(await ask(client), 'allowed', 'who is connected knows the gate from before');
    const says = 'the gate has no svid to show: nobody can connect with tls';
    assert.ok(stage.server.lines.some(({ message }) => message === says));
    const status = (await stage.svidgate.json('status')) as { readonly warnings: readonly string[] };
    assert.ok(status.warnings.includes('nobody can connect to gate:mesh: there is no svid of the gate to show'));
    const ready = await fetch(`http://${stage.server.running.addresses.telemetry}/ready`);
    assert.equal(ready.status, 503);
    await ready.body?.cancel();
    await stage.svidgate.text('svid', 'unrevoke', revoked.revocation_id);
    assert.ok((await shownSerial(stage, identity)) !== undefined);
  });

  test('an entry that gives the SPIFFE ID of the gate to callers is a warning', async () => {
    await stage.server.write('entries.yaml', entriesFor(...ENTRIES, '/gate'));
    const says = 'an entry gives the spiffe id of the gate to callers';
    await waitUntil('the warning', 5000, () => stage.server.lines.some(({ message }) => message === says) || undefined);
    const status = (await stage.svidgate.json('status')) as { readonly warnings: readonly string[] };
    assert.ok(status.warnings.includes(`an entry gives ${GATE}, which the gate shows, to callers`));
  });
});

test('where an agent signs, the gate shows what the agent gives, and nothing once it is taken back', async () => {
  await using agent = await startTestServer({ entries: entriesFor('/edge/one', '/gate') });
  const source = `identity_source: workload_api\nupstream_workload_socket: ${agent.socket.slice('unix:'.length)}\n`;
  await using server = await startTestServer({
    entries: entriesFor('/edge/one'),
    config: source + CONFIG,
    files: { 'authz.rego': POLICY },
  });
  const svidgate = cliOf(server);
  const mesh = server.running.addresses['gate:mesh'] ?? '';
  const roots = await waitUntil('the bundle of the agent', 10_000, async () => {
    const { code, out } = await svidgate('bundle', 'show', '--format', 'pem');
    return code === 0 && out.includes('BEGIN CERTIFICATE') ? out : undefined;
  });
  const stage = { server, svidgate, roots, mesh };
  const identity = await waitUntil('an SVID of the caller', 10_000, () =>
    fetchIdentity(server.socket, `${ID}/edge/one`).catch(() => undefined),
  );
  await waitUntil('the gate to show its SVID', 10_000, () => shownSerial(stage, identity));
  using client = connectAs(stage, identity);
  assert.equal(await ask(client), 'allowed');
  await agent.write('entries.yaml', entriesFor('/edge/one'));
  await waitUntil('the SVID of the gate to be gone', 10_000, async () =>
    (await shownSerial(stage, identity)) === undefined ? true : undefined,
  );
});
