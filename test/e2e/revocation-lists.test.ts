/** Revocation lists in a real Envoy: whoever is revoked is refused, and nobody else ever is. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { configFolder, serve, type ServeProcess } from '../support/cli.ts';
import { startOrdersEnvoy, type OrdersEnvoy } from '../support/mesh-envoys.ts';
import { cliOf, type ServerCli } from '../support/run-cli.ts';
import { entriesFor, OWN_SELECTOR, startTestServer } from '../support/server.ts';
import { fetchIdentity, getOnce, type PeerIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ENVOY_LIMIT_MS = 10_000;

interface Slots {
  readonly authorities: readonly { readonly kind: string; readonly state: string; readonly authority_id: string }[];
}

/** Identities that must be let in by every port of theirs, and are tried without a pause. */
class GoodPeers implements AsyncDisposable {
  readonly #orders: OrdersEnvoy;
  readonly #isOver = new AbortController();
  readonly #trying: Promise<void>;
  peers: readonly { readonly name: string; readonly identity: PeerIdentity; readonly ports: readonly number[] }[] = [];
  readonly refusals: string[] = [];
  tries = 0;

  constructor(orders: OrdersEnvoy) {
    this.#orders = orders;
    this.#trying = this.#try();
  }

  async #try(): Promise<void> {
    const { address } = this.#orders;
    while (!this.#isOver.signal.aborted) {
      for (const { name, identity, ports } of this.peers) {
        for (const port of ports) {
          this.tries += 1;
          const status = await getOnce({ address, port }, identity);
          if (status === 0) this.refusals.push(`${name} at ${port}`);
        }
      }
      await pause(5);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver.abort();
    await this.#trying;
  }
}

const validators = [
  { name: 'the SPIFFE validator', node: {}, hasAll: true },
  { name: 'plain trusted CAs', node: { metadata: { disable_spiffe_cert_validation: true } }, hasAll: false },
];

for (const { name, node, hasAll } of validators) {
  test(`${name}: a revoked serial is refused, nobody else, while CAs rotate and after kill -9`, async (t) => {
    await using partner = await startTestServer({
      config: 'trust_domain: partner.test',
      entries: entriesFor('/peer').replaceAll('example.test', 'partner.test'),
    });
    await using folder = await configFolder('entries: ./entries.yaml\nauthority: { ack_timeout: 5s }');
    const run = cliOf({ folder: folder.path });
    const socket = `unix:${join(folder.path, 'api.sock')}`;
    const fetchId = (path: string): Promise<PeerIdentity> => fetchIdentity(socket, `spiffe://example.test${path}`);
    await using program = await startProgram(folder.path);
    await setPartner(run, cliOf(partner), folder.path);
    await using orders = await startOrdersEnvoy({ folder: folder.path, socket }, node);
    const { own, all } = orders.ports;
    const ours = hasAll ? [own, all] : [own];
    const at = (port: number) => ({ address: orders.address, port });
    await using good = new GoodPeers(orders);
    const keepGood = async (...paths: readonly string[]): Promise<void> => {
      const identities = await Promise.all(paths.map(fetchId));
      const added = identities.map((identity, index) => ({ name: paths[index] ?? '', identity, ports: ours }));
      good.peers = [...good.peers, ...added];
    };
    const refused = async (identity: PeerIdentity): Promise<void> => {
      for (const port of ours) {
        await waitUntil('Envoy to refuse it', ENVOY_LIMIT_MS, async () => (await getOnce(at(port), identity)) === 0);
      }
    };
    const accepted = async (identity: PeerIdentity): Promise<void> => {
      for (const port of ours) {
        await waitUntil('Envoy to take it', ENVOY_LIMIT_MS, async () => (await getOnce(at(port), identity)) === 200);
      }
    };

    const foreign = await fetchIdentity(partner.socket, 'spiffe://partner.test/peer');
    if (hasAll) good.peers = [{ name: 'foreign', identity: foreign, ports: [all] }];
    await keepGood('/a', '/b');
    const first = await fetchId('/web');
    await accepted(first);
    const { revocation_id: id } = (await run.json('svid', 'revoke', '--serial', first.serial)) as {
      readonly revocation_id: string;
    };
    await refused(first);
    await accepted(await fetchId('/web'));

    await run.text('authority', 'prepare', 'x509');
    await keepGood('/c');
    await refused(first);
    const authority = async (state: string): Promise<string> =>
      ((await run.json('authority', 'show')) as Slots).authorities.find(
        (slot) => slot.kind === 'x509' && slot.state === state,
      )?.authority_id ?? '';
    const old = await authority('active');
    await run.text('authority', 'activate', 'x509', await authority('prepared'));
    for (const path of ['/d', '/new']) {
      // Signed by the new CA, unlike those that are held already.
      const named = ['--spiffe-id', `spiffe://example.test${path}`, '--selector', OWN_SELECTOR];
      await run.text('entry', 'create', ...named);
    }
    await keepGood('/d');
    const second = await fetchId('/new');
    await accepted(second);
    await run.text('svid', 'revoke', '--serial', second.serial);
    await refused(second);
    await refused(first);

    await program.restart();
    await refused(first);
    await refused(second);
    await keepGood('/b');

    good.peers = good.peers.filter(({ name: path }) => path === 'foreign' || path === '/d');
    await run.text('authority', 'taint', 'x509', old);
    await run.text('authority', 'revoke', 'x509', old);
    await refused(first);
    await refused(second);
    await keepGood('/d');

    await run.text('svid', 'unrevoke', id);
    const { revocations } = (await run.json('svid', 'revocations')) as { revocations: { revocation_id: string }[] };
    for (const { revocation_id: left } of revocations) await run.text('svid', 'unrevoke', left);
    await accepted(second);
    const tries = good.tries;
    await waitUntil('more tries', ENVOY_LIMIT_MS, () => good.tries > tries + 10);
    t.diagnostic(`${good.tries} handshakes of good peers`);
    assert.deepEqual(good.refusals, []);
  });
}

async function startProgram(folder: string): Promise<AsyncDisposable & { restart(): Promise<void> }> {
  await writeFile(join(folder, 'entries.yaml'), entriesWithPartner());
  let program: ServeProcess = serve(folder);
  const end = async (): Promise<void> => {
    if (program.child.exitCode !== null || program.child.signalCode !== null) return;
    const closed = once(program.child, 'close');
    program.child.kill('SIGKILL');
    await closed;
  };
  try {
    await program.started();
  } catch (error) {
    await end();
    throw error;
  }
  return {
    async restart() {
      await end();
      program = serve(folder);
      await program.started();
    },
    [Symbol.asyncDispose]: end,
  };
}

function entriesWithPartner(): string {
  const { entries } = JSON.parse(entriesFor('/orders', '/web', '/a', '/b', '/c')) as {
    entries: object[];
  };
  return JSON.stringify({ entries: entries.map((entry) => ({ ...entry, federates_with: ['partner.test'] })) });
}

/** With a revoked serial of its own, which concerns nobody here. */
async function setPartner(run: ServerCli, partner: ServerCli, folder: string): Promise<void> {
  await partner.text('svid', 'revoke', '--serial', 'abc');
  const file = join(folder, 'partner.json');
  await writeFile(file, await partner.text('bundle', 'show', '--format', 'spiffe'));
  await run.text('bundle', 'set', 'partner.test', file);
}
