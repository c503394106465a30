/** A foreign trust domain is taken away from running Envoys, in each way that is possible: its peers are refused, and nobody else. */
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatSpiffeBundle } from '../../src/spiffe/index.ts';
import { foreignPeer } from '../support/foreign-peer.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { SDS_PROTOCOLS, startSdsEnvoy, type SdsEnvoy, type SdsProtocol } from '../support/sds-envoy.ts';
import { OWN_SELECTOR } from '../support/server.ts';
import { createTestTrustDomain } from '../support/test-trust-domain.ts';
import { fetchIdentity, getOnce, type PeerIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ORDERS = 'spiffe://example.test/orders';
const LIMIT_MS = 15_000;
const PORTS = { all: 'ALL', leaving: 'spiffe://leaving.test', staying: 'spiffe://staying.test', own: 'ROOTCA' };

function entries(...federatesWith: readonly string[]): string {
  return JSON.stringify({
    entries: [{ spiffe_id: ORDERS, selectors: [OWN_SELECTOR], federates_with: federatesWith }],
  });
}

const BOTH = entries('leaving.test', 'staying.test');
const CONFIG = 'entries: ./entries.yaml\nfederation: { bundles: ./bundles }\n';

interface Stage extends AsyncDisposable {
  readonly server: RestartableServer;
  readonly envoy: SdsEnvoy;
  /** Resolves when every port lets in whom it should; what was let in before is never refused meanwhile. */
  readonly settles: (isLeavingTrusted: boolean) => Promise<void>;
  setLeaving(): Promise<void>;
  removeLeaving(): Promise<void>;
}

/** A server with the bundles of two foreign domains, and an Envoy with a port for each name that they go by. */
async function startStage(protocol: SdsProtocol): Promise<Stage> {
  const [leaving, staying] = await Promise.all(
    ['leaving.test', 'staying.test'].map((name) => createTestTrustDomain(name)),
  );
  assert.ok(leaving !== undefined && staying !== undefined);
  const file = 'bundles/leaving.test.json';
  const open = new AsyncDisposableStack();
  try {
    const server = open.use(await restartableServer({ config: CONFIG, files: { 'entries.yaml': BOTH } }));
    await mkdir(join(server.folder, 'bundles'));
    const setLeaving = (): Promise<void> => server.write(file, formatSpiffeBundle(leaving.bundle.value));
    await setLeaving();
    await server.write('bundles/staying.test.json', formatSpiffeBundle(staying.bundle.value));
    await server.start();
    const inward = Object.entries(PORTS).map(([name, context]) => ({ name, svid: ORDERS, context }));
    const envoy = open.use(await startSdsEnvoy({ name: 'orders', server, protocol, inward }));
    const own = await fetchIdentity(server.socket, ORDERS);
    const peers = { leaving: await foreignPeer(leaving), staying: await foreignPeer(staying), own };
    const lets = async (port: keyof typeof PORTS, peer: Pick<PeerIdentity, 'cert' | 'key'>): Promise<boolean> =>
      (await getOnce(envoy.at(port), peer)) === 200;
    const assertOthers = async (): Promise<void> => {
      for (const port of ['all', 'staying'] as const) assert.ok(await lets(port, peers.staying), `staying at ${port}`);
      for (const port of ['all', 'own'] as const) assert.ok(await lets(port, peers.own), `own at ${port}`);
      for (const port of ['staying', 'own'] as const)
        assert.ok(!(await lets(port, peers.leaving)), `leaving at ${port}`);
      for (const peer of [peers.staying, peers.own]) assert.ok(!(await lets('leaving', peer)), 'at leaving');
    };
    return {
      server,
      envoy,
      setLeaving,
      removeLeaving: () => rm(join(server.folder, file)),
      async settles(isLeavingTrusted) {
        for (const port of ['all', 'leaving'] as const) {
          await waitUntil(`${port} to ${isLeavingTrusted ? 'let it in' : 'refuse it'}`, LIMIT_MS, async () => {
            await assertOthers();
            return (await lets(port, peers.leaving)) === isLeavingTrusted;
          });
        }
        for (const port of ['all', 'leaving'] as const) assert.equal(await lets(port, peers.leaving), isLeavingTrusted);
      },
      [Symbol.asyncDispose]: () => open.disposeAsync(),
    };
  } catch (error) {
    await open.disposeAsync();
    throw error;
  }
}

/** Resolves when the Envoy has come back after a start and has been answered for all its names. */
async function untilConnected({ server }: Stage): Promise<void> {
  const run = cliOf(server);
  const names = [ORDERS, ...Object.values(PORTS)];
  await waitUntil('the Envoy to connect again', LIMIT_MS, async () => {
    const { envoys } = (await run.json('status')) as { readonly envoys: readonly Connected[] };
    const held = envoys.flatMap(({ resources }) => resources).filter(({ acknowledged }) => acknowledged);
    return names.every((name) => held.some((resource) => resource.name === name));
  });
}

interface Connected {
  readonly resources: readonly { readonly name: string; readonly acknowledged: boolean }[];
}

for (const { protocol, title } of SDS_PROTOCOLS) {
  test(`${title}: who takes the bundle or the right to it away closes the domain at once; it comes back the same way`, async (t) => {
    await using stage = await startStage(protocol);
    const { server, settles } = stage;
    await settles(true);
    const timed = async (what: string, change: () => Promise<void>, isTrusted: boolean): Promise<void> => {
      const changedAt = performance.now();
      await change();
      await settles(isTrusted);
      t.diagnostic(`${what}: settled after ${Math.round(performance.now() - changedAt)} ms`);
    };
    await timed('bundle removed', () => stage.removeLeaving(), false);
    await timed('bundle set', () => stage.setLeaving(), true);
    await timed('entry federates no more', () => server.write('entries.yaml', entries('staying.test')), false);
    await timed('entry federates again', () => server.write('entries.yaml', BOTH), true);
  });

  test(`${title}: what the Envoy held before it connected again is closed, too`, async () => {
    await using stage = await startStage(protocol);
    const { server, settles } = stage;
    await settles(true);
    await server.stop();
    await stage.removeLeaving();
    await settles(true); // by what it holds
    await server.start();
    await settles(false);
    // Closed already when it comes.
    await server.stop();
    await server.start();
    await untilConnected(stage);
    await settles(false);
    await stage.setLeaving();
    await settles(true);
    assert.equal(await stage.envoy.sdsStat('spiffe://leaving.test', 'update_rejected'), 0);
  });
}
