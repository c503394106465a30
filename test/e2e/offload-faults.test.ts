/** What fails between svidgate and an Envoy that decides by itself: it never goes on for longer than the lease. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { systemClock, type Clock } from '../../src/core/index.ts';
import { NOT_OFFLOADED, startOffloadedMesh, type OffloadedMesh } from '../support/offloaded-mesh.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor } from '../support/server.ts';
import { fetchIdentity, tlsPeer, type TlsPeer } from '../support/tls-peer.ts';
import { unixRelay, type UnixRelay } from '../support/unix-relay.ts';
import { waitUntil } from '../support/wait-until.ts';

const ID = (path: string): string => `spiffe://example.test${path}`;
const LEASE_MS = 2000;
/** How late a busy machine may tell it. */
const SLACK_MS = 1500;
const LIMIT_MS = 10_000;
/** From the file to the policy in force. */
const COMPILED_MS = 3000;

/** Lets GET requests for these paths in, of two peers. */
const policyFor = (...paths: readonly string[]): string => `package envoy.authz

default allow := false

allow if {
	input.svidgate.peer.spiffe_id in {"${ID('/web')}", "${ID('/other')}"}
	input.attributes.request.http.method == "GET"
	input.attributes.request.http.path in ${JSON.stringify(paths)}
}
`;

const CONFIG = `entries: ./entries.yaml
authz:
  listen: unix:./authz.sock
  eval_timeout: 5s
  offload_lease: ${LEASE_MS / 1000}s
  policies: { default: { path: ./policy.rego, offload: on } }
`;

interface StatusJson {
  readonly policies: readonly {
    readonly state: string;
    readonly problem?: string;
    readonly offload?: { readonly state: string; readonly envoys_behind: number };
  }[];
  readonly envoys: readonly {
    readonly node_id: string;
    readonly resources: readonly {
      readonly kind: string;
      readonly acknowledged: boolean;
      readonly policy_digest?: string;
      readonly last_nack?: string;
    }[];
  }[];
}

describe('an Envoy that decides without a call', { timeout: 180_000 }, () => {
  const stack = new AsyncDisposableStack();
  let skewMs = 0;
  let server: RestartableServer;
  let relay: UnixRelay;
  let mesh: OffloadedMesh;
  let refusing: OffloadedMesh;
  let web: TlsPeer;
  let other: TlsPeer;

  before(async () => {
    // svidgate's clock alone: Envoy and the leases have the machine's.
    const clock: Clock = { now: () => Date.now() + skewMs, sleep: (ms, signal) => systemClock.sleep(ms, signal) };
    const files = { 'entries.yaml': entriesFor('/orders', '/web', '/other'), 'policy.rego': policyFor('/ok', '/more') };
    server = stack.use(await restartableServer({ clock, config: CONFIG, files }));
    await server.start();
    relay = stack.use(await unixRelay(join(server.folder, 'relay.sock'), join(server.folder, 'api.sock')));
    const own = { folder: server.folder, gate: server.gate, svid: ID('/orders') };
    const cors = 'type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors';
    const meshes = [
      startOffloadedMesh({ ...own, name: 'orders', socket: relay.address }),
      startOffloadedMesh({ ...own, name: 'refusing', socket: server.socket, takes: cors }),
    ];
    for (const each of await Promise.allSettled(meshes)) if (each.status === 'fulfilled') stack.use(each.value);
    [mesh, refusing] = (await Promise.all(meshes)) as [OffloadedMesh, OffloadedMesh];
    web = stack.use(tlsPeer(mesh.alone, await fetchIdentity(server.socket, ID('/web'))));
    other = stack.use(tlsPeer(mesh.alone, await fetchIdentity(server.socket, ID('/other'))));
    await isBack(web);
  });
  after(() => stack.disposeAsync());

  const status = async (): Promise<StatusJson> => (await cliOf(server).json('status')) as StatusJson;
  /** By rules of the server that runs now: those of before pass until their lease ends. */
  const isBack = (peer: TlsPeer, path = '/ok'): Promise<unknown> =>
    waitUntil(`${path} to pass without a call`, LIMIT_MS, async () => {
      const { envoys } = await status();
      const held = envoys.find(({ node_id: node, resources }) => node === 'orders' && resources[0]?.kind === 'offload');
      const [rules] = held?.resources ?? [];
      return rules?.acknowledged === true && rules.policy_digest !== undefined && (await peer.get(path)) === 200;
    });
  const isOut = (peer: TlsPeer, path = '/ok'): Promise<unknown> =>
    waitUntil(`${path} to be a call`, LIMIT_MS, async () => (await peer.get(path)) === NOT_OFFLOADED);
  /** From now to the last request that passed without a call, in milliseconds. */
  const lastPass = async (peer: TlsPeer, path = '/ok'): Promise<number> => {
    const startedAt = performance.now();
    let last = 0;
    await waitUntil(`${path} to be a call`, LIMIT_MS, async () => {
      const isOver = (await peer.get(path)) !== 200;
      if (!isOver) last = performance.now() - startedAt;
      return isOver;
    });
    return Math.round(last);
  };

  /** Each with that of the next start. */
  const skews = [
    [0, 5000],
    [5000, -5000],
    [-5000, 0],
  ] as const;
  for (const [skew, next] of skews) {
    test(`svidgate is gone, its clock ${skew / 1000} s off: the rules hold until the lease ends, then nothing passes`, async (t) => {
      assert.equal(skewMs, skew);
      using gated = tlsPeer(mesh.gated, await fetchIdentity(server.socket, ID('/web')));
      assert.equal(await gated.get('/other'), 403);
      const [passed] = await Promise.all([lastPass(web), server.stop()]);
      assert.equal(await gated.get('/other'), NOT_OFFLOADED, 'nobody is there to ask');
      t.diagnostic(`passed for ${passed} ms`);
      assert.ok(passed > 0 && passed < LEASE_MS + SLACK_MS, `${passed} ms`);
      for (let more = 0; more < 5; more += 1) {
        assert.deepEqual([await web.get('/ok'), await gated.get('/ok')], [NOT_OFFLOADED, NOT_OFFLOADED]);
      }
      assert.deepEqual([web.connections, gated.connections], [1, 1]);
      skewMs = next;
      await server.start();
      await isBack(web);
      assert.equal(await gated.get('/ok'), 200);
    });
  }

  test('a revocation that an Envoy cannot hear of holds for it when the lease has ended, and after it', async (t) => {
    await isBack(other);
    relay.cut();
    const revoked = (await cliOf(server).json('svid', 'revoke', '--spiffe-id', ID('/other'))) as {
      readonly revocation_id: string;
    };
    const passed = await lastPass(other);
    t.diagnostic(`passed for ${passed} ms after the command`);
    assert.ok(passed < LEASE_MS + SLACK_MS, `${passed} ms`);
    relay.heal();
    await isBack(web);
    assert.equal(await other.get('/ok'), NOT_OFFLOADED);
    await cliOf(server).text('svid', 'unrevoke', revoked.revocation_id);
    await isBack(other);
  });

  test('an Envoy that is back before its lease has ended, with rules of before, gets those of now', async (t) => {
    relay.cut();
    const revoked = (await cliOf(server).json('svid', 'revoke', '--spiffe-id', ID('/other'))) as {
      readonly revocation_id: string;
    };
    relay.heal();
    const passed = await lastPass(other);
    t.diagnostic(`passed for ${passed} ms after it was back`);
    assert.ok(passed < LEASE_MS + SLACK_MS, `${passed} ms`);
    await isBack(web);
    assert.equal(await other.get('/ok'), NOT_OFFLOADED);
    await cliOf(server).text('svid', 'unrevoke', revoked.revocation_id);
    await isBack(other);
  });

  test('a connection that is open and says nothing ends the rules, too', async (t) => {
    relay.stall();
    const passed = await lastPass(web);
    t.diagnostic(`passed for ${passed} ms`);
    assert.ok(passed < LEASE_MS + SLACK_MS, `${passed} ms`);
    relay.heal();
    await isBack(web);
  });

  test('a tightened policy holds within the lease for an Envoy whose stream broke in mid-push', async (t) => {
    await isBack(web, '/more');
    relay.breakAfter(100);
    await server.write('policy.rego', policyFor('/ok'));
    const passed = await lastPass(web, '/more');
    t.diagnostic(`passed for ${passed} ms after the file was written`);
    assert.ok(passed < COMPILED_MS + LEASE_MS + SLACK_MS, `${passed} ms`);
    relay.heal();
    await isBack(web);
    assert.equal(await web.get('/more'), NOT_OFFLOADED);
  });

  test('a policy that does not compile changes nothing; one that is rolled back brings its rules back', async () => {
    await server.write('policy.rego', `${policyFor('/ok')}\nallow if nonsense(`);
    await waitUntil(
      'the mistake to be told',
      LIMIT_MS,
      async () => (await status()).policies[0]?.problem !== undefined,
    );
    assert.equal((await status()).policies[0]?.offload?.state, 'on');
    assert.deepEqual([await web.get('/ok'), await web.get('/more')], [200, NOT_OFFLOADED]);
    await cliOf(server).text('policy', 'rollback', 'default', '--reason', 'test');
    await isBack(web, '/more');
    await isBack(web);
    await server.write('policy.rego', policyFor('/nothing-of-before'));
    await isOut(web);
    await isBack(web, '/nothing-of-before');
    assert.equal(await web.get('/more'), NOT_OFFLOADED);
  });

  test('an Envoy that refuses its rules asks about everything, and status says so', async () => {
    using peer = tlsPeer(refusing.alone, await fetchIdentity(server.socket, ID('/web')));
    assert.equal(await peer.get('/nothing-of-before'), NOT_OFFLOADED);
    using gated = tlsPeer(refusing.gated, await fetchIdentity(server.socket, ID('/web')));
    assert.equal(await gated.get('/nothing-of-before'), 200);
    assert.equal(await gated.get('/ok'), 403);
    const { envoys, policies } = await status();
    assert.equal(policies[0]?.offload?.envoys_behind, 1);
    assert.equal(await server.metric('svidgate_offload_envoys_behind{policy="default"}'), 1);
    const refused = envoys
      .filter(({ node_id: node }) => node === 'refusing')
      .flatMap(({ resources }) => resources.filter(({ kind }) => kind === 'offload'));
    assert.match(refused.map(({ last_nack: nack = '' }) => nack).join(), /RBAC/);
    const refusals = await server.metric('svidgate_offload_nacks_total');
    assert.ok(refusals > 0 && refusals < 100, `${refusals} refusals: what was refused was sent again and again`);
  });
});
