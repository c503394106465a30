/** Revocation and what Envoys decide without a call: whatever the gate would deny leaves the rules first, on open connections. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, after, describe, test, type TestContext } from 'node:test';
import { readConfig } from '../../src/config/index.ts';
import { silentLogger } from '../../src/core/index.ts';
import { startServer } from '../../src/server/index.ts';
import { NOT_OFFLOADED, startOffloadedMesh, type OffloadedMesh } from '../support/offloaded-mesh.ts';
import { cliOf, type ServerCli } from '../support/run-cli.ts';
import { entriesFor, OWN_SELECTOR, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity, tlsPeer, type PeerIdentity, type TlsPeer } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ID = (path: string): string => `spiffe://example.test${path}`;
const PARTNER = 'spiffe://partner.test/peer';
const PATHS = ['/orders', '/web', '/other'];
const LIMIT_MS = 5000;
const ALLOWED = [...['/web', '/other', '/late', '/fresh'].map(ID), PARTNER].map((id) => `"${id}"`).join(', ');

const POLICY = `package envoy.authz

default allow := false

allow if {
	input.svidgate.peer.spiffe_id in {${ALLOWED}}
	input.attributes.request.http.path == "/ok"
}

allow if {
	startswith(input.svidgate.peer.spiffe_id, "${ID('/team/')}")
	input.attributes.request.http.path == "/team"
}

allow if {
	input.svidgate.peer.verified
	input.attributes.request.http.path == "/called"
	time.now_ns() > 0
}
`;

const CONFIG = `authority: { ack_timeout: 0s }
authz:
  listen: unix:./authz.sock
  deny_unregistered: true
  policies: { default: { path: ./policy.rego, offload: on } }
`;

interface Stage extends AsyncDisposable {
  readonly server: TestServer;
  readonly run: ServerCli;
  readonly meshes: readonly OffloadedMesh[];
}

interface Revoked {
  readonly revocation_id: string;
}

interface Slots {
  readonly authorities: readonly { readonly kind: string; readonly state: string; readonly authority_id: string }[];
}

interface StatusJson {
  readonly policies: readonly {
    readonly offload?: { readonly state: string; readonly envoys: number; readonly envoys_behind: number };
  }[];
}

/** Both variants of discovery, each with an Envoy of its own. */
async function startStage(partner: TestServer): Promise<Stage> {
  const stack = new AsyncDisposableStack();
  const entries = JSON.parse(entriesFor(...PATHS)) as { entries: { federates_with?: string[] }[] };
  for (const entry of entries.entries) entry.federates_with = ['partner.test'];
  const files = { 'policy.rego': POLICY };
  const server = stack.use(await startTestServer({ entries: JSON.stringify(entries), config: CONFIG, files }));
  const run = cliOf(server);
  await server.write('partner.json', await cliOf(partner).text('bundle', 'show', '--format', 'spiffe'));
  await run.text('bundle', 'set', 'partner.test', `${server.folder}/partner.json`);
  const apis = ['GRPC', 'DELTA_GRPC'] as const;
  const meshes = await Promise.all(
    apis.map(async (api) => {
      const name = api.toLowerCase().replace('_', '-');
      return stack.use(await startOffloadedMesh({ ...server, name, api, svid: ID('/orders'), context: 'ALL' }));
    }),
  );
  return { server, run, meshes, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** One open connection to each Envoy, where no gate is asked. */
function openTo(
  meshes: readonly OffloadedMesh[],
  identity: PeerIdentity,
  port: 'alone' | 'gated' = 'alone',
): Disposable & {
  statuses(path?: string): Promise<readonly number[]>;
  readonly peers: readonly TlsPeer[];
} {
  const peers = meshes.map((mesh) => tlsPeer(mesh[port], identity));
  return {
    peers,
    statuses: async (path = '/ok') => await Promise.all(peers.map((peer) => peer.get(path))),
    [Symbol.dispose]: () => {
      for (const peer of peers) peer[Symbol.dispose]();
    },
  };
}

const all = (statuses: readonly number[], expected: number): boolean => statuses.every((status) => status === expected);

describe('what Envoys decide without a call', { timeout: 120_000 }, () => {
  let partner: TestServer;
  let stage: Stage;

  before(async () => {
    partner = await startTestServer({
      config: 'trust_domain: partner.test',
      entries: entriesFor('/peer').replaceAll('example.test', 'partner.test'),
    });
    stage = await startStage(partner);
  });
  after(async () => {
    await stage[Symbol.asyncDispose]();
    await partner[Symbol.asyncDispose]();
  });

  const identityOf = (path: string): Promise<PeerIdentity> => fetchIdentity(stage.server.socket, ID(path));
  /** Gives the ID of the entry. */
  const create = async (path: string): Promise<string> => {
    const made = await stage.run.json('entry', 'create', '--spiffe-id', ID(path), '--selector', OWN_SELECTOR);
    return (made as { readonly entry_id: string }).entry_id;
  };
  const offload = async (): Promise<NonNullable<StatusJson['policies'][0]['offload']>> => {
    const { policies } = (await stage.run.json('status')) as StatusJson;
    assert.ok(policies[0]?.offload);
    return policies[0].offload;
  };
  /** Until all Envoys have accepted what is in force. */
  const settled = async (): Promise<void> => {
    await waitUntil('all Envoys to have the rules', LIMIT_MS, async () => {
      const { state, envoys, envoys_behind: behind } = await offload();
      return state === 'on' && envoys === stage.meshes.length && behind === 0;
    });
  };
  /** From the end of the command to when no Envoy lets it in any more, and to the last ACK. */
  const measure = async (t: TestContext, what: string, isOut: () => Promise<boolean>): Promise<void> => {
    const startedAt = performance.now();
    await waitUntil(`${what} to be left to the call`, LIMIT_MS, isOut);
    const out = performance.now() - startedAt;
    await settled();
    t.diagnostic(
      `${what}: out ${Math.round(out)} ms, ACK of all ${Math.round(performance.now() - startedAt)} ms after the command`,
    );
  };

  test('rules answer what they allow, the gate all else', async () => {
    await settled();
    using web = openTo(stage.meshes, await identityOf('/web'));
    await waitUntil('the rules to be in force', LIMIT_MS, async () => all(await web.statuses(), 200));
    assert.ok(all(await web.statuses('/called'), NOT_OFFLOADED));
    assert.ok(all(await web.statuses('/ok/'), NOT_OFFLOADED));
    using gated = openTo(stage.meshes, await identityOf('/web'), 'gated');
    const before = await Promise.all(stage.meshes.map((mesh) => mesh.asked()));
    assert.ok(all(await gated.statuses(), 200));
    assert.deepEqual(await Promise.all(stage.meshes.map((mesh) => mesh.asked())), before, 'no gate was asked');
    assert.ok(all(await gated.statuses('/called'), 200));
    assert.ok(all(await gated.statuses('/other'), 403));
    using stranger = openTo(stage.meshes, await identityOf('/orders'));
    assert.ok(all(await stranger.statuses(), NOT_OFFLOADED));
  });

  test('a revoked SPIFFE ID is out on open connections, and nobody else', async (t) => {
    using other = openTo(stage.meshes, await identityOf('/other'));
    using gated = openTo(stage.meshes, await identityOf('/other'), 'gated');
    using web = openTo(stage.meshes, await identityOf('/web'));
    assert.ok(all([...(await other.statuses()), ...(await gated.statuses()), ...(await web.statuses())], 200));
    const { revocation_id: id } = (await stage.run.json('svid', 'revoke', '--spiffe-id', ID('/other'))) as Revoked;
    await measure(t, 'a SPIFFE ID', async () => all(await other.statuses(), NOT_OFFLOADED));
    assert.ok(all(await gated.statuses(), 403));
    assert.ok(all(await web.statuses(), 200));
    assert.ok([...other.peers, ...gated.peers].every(({ connections }) => connections === 1));
    await stage.run.text('svid', 'unrevoke', id);
    await waitUntil('it to be back', LIMIT_MS, async () => all(await other.statuses(), 200));
  });

  test('of a revoked serial, all that its holder has is a call: rules do not see serials', async (t) => {
    const revoked = await identityOf('/web');
    using web = openTo(stage.meshes, revoked);
    using old = openTo(stage.meshes, revoked, 'gated');
    assert.ok(all([...(await web.statuses()), ...(await old.statuses())], 200));
    const { revocation_id: id } = (await stage.run.json('svid', 'revoke', '--serial', revoked.serial)) as Revoked;
    await measure(t, 'a serial', async () => all(await web.statuses(), NOT_OFFLOADED));
    const fresh = await identityOf('/web');
    assert.notEqual(fresh.serial, revoked.serial);
    using next = openTo(stage.meshes, fresh, 'gated');
    assert.ok(all(await old.statuses(), 403));
    assert.ok(all(await next.statuses(), 200), 'by a call');
    await stage.run.text('svid', 'unrevoke', id);
    await waitUntil('it to be back', LIMIT_MS, async () => all(await web.statuses(), 200));
  });

  test('a serial of nobody that is known leaves everything to the call, and status says why', async () => {
    using web = openTo(stage.meshes, await identityOf('/web'));
    const { revocation_id: id } = (await stage.run.json('svid', 'revoke', '--serial', 'abcdef')) as Revoked;
    await waitUntil('all to be a call', LIMIT_MS, async () => all(await web.statuses(), NOT_OFFLOADED));
    assert.equal((await offload()).state, 'nothing');
    assert.match(
      await stage.run.text('status'),
      /policy default is not offloaded: whose SVIDs 1 of the revoked serials are/,
    );
    await stage.run.text('svid', 'unrevoke', id);
    await waitUntil('it to be back', LIMIT_MS, async () => all(await web.statuses(), 200));
  });

  test('peers of a foreign trust domain are out when it is removed', async (t) => {
    const foreign = await fetchIdentity(partner.socket, PARTNER);
    using alone = openTo(stage.meshes, foreign);
    using gated = openTo(stage.meshes, foreign, 'gated');
    await waitUntil('it to be let in', LIMIT_MS, async () => all(await alone.statuses(), 200));
    assert.ok(all(await gated.statuses(), 200));
    await stage.run.text('bundle', 'delete', 'partner.test');
    await measure(t, 'a foreign trust domain', async () => all(await alone.statuses(), NOT_OFFLOADED));
    assert.ok(all(await gated.statuses(), 403));
    assert.ok([...alone.peers, ...gated.peers].every(({ connections }) => connections === 1));
  });

  test('with deny_unregistered, an ID without an entry is out on open connections, and back with one', async (t) => {
    const entry = await create('/late');
    const identity = await identityOf('/late');
    using late = openTo(stage.meshes, identity);
    using gated = openTo(stage.meshes, identity, 'gated');
    using web = openTo(stage.meshes, await identityOf('/web'));
    await waitUntil('it to be let in', LIMIT_MS, async () => all(await late.statuses(), 200));
    assert.ok(all([...(await gated.statuses()), ...(await web.statuses())], 200));
    await stage.run.text('entry', 'delete', entry);
    await measure(t, 'an ID without an entry', async () => all(await late.statuses(), NOT_OFFLOADED));
    assert.ok(all(await gated.statuses(), 403));
    assert.ok(all(await web.statuses(), 200), 'nobody else');
    await create('/late');
    await waitUntil('it to be back', LIMIT_MS, async () => all(await late.statuses(), 200));
    assert.ok(all(await gated.statuses(), 200));
    assert.ok([...late.peers, ...gated.peers].every(({ connections }) => connections === 1));
  });

  test('peers by a prefix are told as entries come and go, and a revoked one is out on open connections', async (t) => {
    const one = await create('/team/one');
    const identity = await identityOf('/team/one');
    using first = openTo(stage.meshes, identity);
    await waitUntil('it to be let in', LIMIT_MS, async () => all(await first.statuses('/team'), 200));
    await create('/team/two');
    await create('/teams/three');
    using second = openTo(stage.meshes, await identityOf('/team/two'));
    using outside = openTo(stage.meshes, await identityOf('/teams/three'));
    await waitUntil('the second, too', LIMIT_MS, async () => all(await second.statuses('/team'), 200));
    assert.ok(all(await outside.statuses('/team'), NOT_OFFLOADED));
    const { revocation_id: id } = (await stage.run.json('svid', 'revoke', '--spiffe-id', ID('/team/two'))) as Revoked;
    await measure(t, 'one of a prefix', async () => all(await second.statuses('/team'), NOT_OFFLOADED));
    assert.ok(all(await first.statuses('/team'), 200), 'nobody else');
    await stage.run.text('entry', 'delete', one);
    await measure(t, 'one of a prefix without an entry', async () => all(await first.statuses('/team'), NOT_OFFLOADED));
    await stage.run.text('svid', 'unrevoke', id);
    await waitUntil('it to be back', LIMIT_MS, async () => all(await second.statuses('/team'), 200));
    assert.ok([...first.peers, ...second.peers].every(({ connections }) => connections === 1));
  });

  /** The last: no rule is for peers of the trust domain any more. */
  test('of a CA that is revoked, all peers of the trust domain are calls, also after a restart', async () => {
    const { run } = stage;
    const before = await identityOf('/web');
    using web = openTo(stage.meshes, before);
    using gated = openTo(stage.meshes, before, 'gated');
    assert.ok(all([...(await web.statuses()), ...(await gated.statuses())], 200));
    const authority = async (state: string): Promise<string> => {
      const { authorities } = (await run.json('authority', 'show')) as Slots;
      const found = authorities.find((slot) => slot.kind === 'x509' && slot.state === state);
      return found?.authority_id ?? assert.fail(`no CA is ${state}`);
    };
    const old = await authority('active');
    await run.text('authority', 'prepare', 'x509');
    await run.text('authority', 'activate', 'x509', await authority('prepared'));
    await run.text('authority', 'taint', 'x509', old);
    assert.ok(all(await web.statuses(), 200), 'a tainted CA is in force still');
    await run.text('authority', 'revoke', 'x509', old);
    await waitUntil('a CA to be left to the call', LIMIT_MS, async () => all(await web.statuses(), NOT_OFFLOADED));
    await waitUntil('its peers to be denied', LIMIT_MS, async () => all(await gated.statuses(), 403));
    assert.ok([...web.peers, ...gated.peers].every(({ connections }) => connections === 1));
    await create('/fresh');
    const fresh = await identityOf('/fresh');
    using next = openTo(stage.meshes, fresh, 'gated');
    await waitUntil('an SVID of the new CA to be let in', LIMIT_MS, async () => all(await next.statuses(), 200));
    using alone = openTo(stage.meshes, fresh);
    const isLeft = async (): Promise<void> => {
      await waitUntil('all Envoys to have no rules', LIMIT_MS, async () => {
        const { state, envoys, envoys_behind: behind } = await offload();
        return state === 'nothing' && envoys === stage.meshes.length && behind === 0;
      });
      assert.ok(all(await alone.statuses(), NOT_OFFLOADED), 'connections by the old CA may live');
      assert.match(await run.text('status'), /example\.test lost a root: its peers are left to the call until /);
    };
    await isLeft();
    await stage.server.running.stop('to be started again');
    const config = await readConfig(join(stage.server.folder, 'svidgate.yaml'));
    assert.ok(config.mistakes === undefined);
    const again = await startServer(config.value, { logger: silentLogger });
    try {
      await isLeft();
    } finally {
      await again.stop('the test is over');
    }
  });
});
