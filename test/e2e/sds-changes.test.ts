/** What Envoys hold when entries come late, go and come back, and when the CA is replaced. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { countStatuses } from '../../tools/demo/load.ts';
import { loadPairs, pairEntries, startMtlsPairs } from '../support/mtls-pairs.ts';
import { cliOf, type ServerCli } from '../support/run-cli.ts';
import { launchSdsEnvoy, SDS_PROTOCOLS, startSdsEnvoy, type SdsEnvoy, type SdsProtocol } from '../support/sds-envoy.ts';
import { entriesFor, OWN_SELECTOR, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity, getOnce, tlsPeer } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ORDERS = 'spiffe://example.test/orders';
const WEB = 'spiffe://example.test/web';
const LIMIT_MS = 15_000;

/** One port as /orders. */
const ordersPort = [{ name: 'in', svid: ORDERS, context: 'ROOTCA' }];

async function serialOf(envoy: SdsEnvoy): Promise<string | undefined> {
  const [serial, ...more] = await envoy.serials();
  assert.deepEqual(more, []);
  return serial;
}

describe('an entry that comes late', () => {
  for (const unknownName of ['error', 'wait'] as const) {
    for (const { protocol, title } of SDS_PROTOCOLS) {
      // To a caller that has no other entry nothing is said; who has one is told that this name is not for it.
      for (const others of [[], ['/other']]) {
        const who = others.length === 0 ? 'a stranger' : 'a caller with another entry';
        test(`unknown_name: ${unknownName}, ${title}, ${who}: it is taken while Envoy warms, and afterwards`, async (t) => {
          await using server = await startTestServer({
            entries: entriesFor(...others),
            config: `sds: { unknown_name: ${unknownName} }`,
          });
          await using late = await lateEnvoys(server, protocol);
          await late.settled();
          // To Envoy a name that is not for it is an answer.
          const isAnswered = unknownName === 'error' && protocol === 'DELTA_GRPC' && others.length > 0;
          assert.equal(await isOpen(late.envoys.warming), isAnswered);
          await server.write('entries.yaml', entriesFor('/orders', ...others));
          const writtenAt = performance.now();
          const web = await fetchedLater(server);
          for (const [name, envoy] of Object.entries(late.envoys)) {
            await waitUntil(`the ${name} Envoy to take mTLS`, LIMIT_MS, async () => {
              return (await getOnce(envoy.at('in'), web)) === 200;
            });
            t.diagnostic(`${name}: served ${Math.round(performance.now() - writtenAt)} ms after the entry was written`);
          }
        });
      }
    }
  }
});

interface LateEnvoys extends AsyncDisposable {
  readonly envoys: { readonly warming: SdsEnvoy; readonly active: SdsEnvoy };
  /** Resolves when one still waits for its secrets and the other has given up waiting. */
  settled(): Promise<void>;
}

/** Whether its ports are open: it has all secrets, or waits for them no longer. */
async function isOpen({ envoy }: SdsEnvoy): Promise<boolean> {
  return (await envoy.stat('listener_manager.workers_started')) === 1;
}

/** Envoys as /orders, while no entry is there for it. */
async function lateEnvoys(server: TestServer, protocol: SdsProtocol): Promise<LateEnvoys> {
  const started = new AsyncDisposableStack();
  const launch = async (name: string, initialFetchTimeout: string): Promise<SdsEnvoy> =>
    started.use(await launchSdsEnvoy({ name, server, protocol, initialFetchTimeout, inward: ordersPort }));
  try {
    const envoys = { warming: await launch('warming', '300s'), active: await launch('active', '1s') };
    const stranger = { cert: '', key: '' };
    return {
      envoys,
      async settled() {
        await waitUntil('the second Envoy to give up', LIMIT_MS, async () => {
          return await isOpen(envoys.active);
        });
        assert.deepEqual(await envoys.active.serials(), []);
        assert.equal(await getOnce(envoys.active.at('in'), stranger), 0, 'it opens, and serves nobody');
        assert.deepEqual(await envoys.warming.serials(), []);
      },
      [Symbol.asyncDispose]: () => started.disposeAsync(),
    };
  } catch (error) {
    await started.disposeAsync();
    throw error;
  }
}

/** An identity of ours that the Envoys trust, as soon as the entry is there. */
async function fetchedLater(server: TestServer) {
  return await waitUntil('the entry to count', LIMIT_MS, () => fetchIdentity(server.socket, ORDERS));
}

describe('an entry that goes and comes back', () => {
  for (const { protocol, title } of SDS_PROTOCOLS) {
    test(`${title}: its holder keeps what it has, is pushed nothing, and has a new SVID as soon as it is back`, async (t) => {
      await using server = await startTestServer({ entries: entriesFor('/web') });
      const run = cliOf(server);
      const asked = ['entry', 'create', '--spiffe-id', ORDERS, '--selector', OWN_SELECTOR];
      const create = async (): Promise<string> => ((await run.json(...asked)) as Created).entry_id;
      let entryId = await create();
      await using orders = await startSdsEnvoy({ name: 'orders', server, protocol, inward: ordersPort });
      const web = await fetchIdentity(server.socket, WEB);
      using open = tlsPeer(orders.at('in'), web);
      assert.equal(await open.get('/'), 200);
      for (let round = 1; round <= 3; round += 1) {
        const [held, pushes] = [await serialOf(orders), await orders.sdsStat(ORDERS, 'update_success')];
        await run.text('entry', 'delete', entryId);
        await waitUntil('the server to know of no such identity', LIMIT_MS, async () =>
          fetchIdentity(server.socket, ORDERS).then(
            () => false,
            () => true,
          ),
        );
        for (let request = 0; request < 20; request += 1) {
          assert.equal(await open.get('/'), 200, 'on the open connection');
          assert.equal(await getOnce(orders.at('in'), web), 200, 'on a new one');
        }
        assert.equal(await serialOf(orders), held);
        const removed = protocol === 'GRPC' ? 0 : 1; // Envoy counts a removal as an update, and keeps the secret.
        const after = await orders.sdsStat(ORDERS, 'update_success');
        assert.ok(after - pushes <= removed, `${after - pushes} updates`);
        entryId = await create();
        const restoredAt = performance.now();
        await waitUntil('a new SVID', LIMIT_MS, async () => (await serialOf(orders)) !== held);
        t.diagnostic(`a new SVID ${Math.round(performance.now() - restoredAt)} ms after the entry was back`);
        assert.equal(await open.get('/'), 200);
      }
      assert.equal(open.connections, 1);
    });
  }
});

interface Created {
  readonly entry_id: string;
}

interface Authorities {
  readonly authorities: readonly { readonly kind: string; readonly state: string; readonly authority_id: string }[];
}

async function authorityOf(run: ServerCli, state: string): Promise<string> {
  const { authorities } = (await run.json('authority', 'show')) as Authorities;
  const found = authorities.find((slot) => slot.kind === 'x509' && slot.state === state);
  return found?.authority_id ?? assert.fail(`no CA is ${state}`);
}

test('a CA is replaced under load: peers with SVIDs of the old and the new one are let in, until the old root goes', async (t) => {
  const PAIRS = 3;
  await using server = await startTestServer({
    // What the test itself shows must not end while it is shown: only the CA decides.
    entries: pairEntries(PAIRS, '/old').replace('/old"', '/old","x509_svid_ttl":"20s"'),
    config: 'authority: { x509_svid_ttl: 8s, ack_timeout: 2s }',
  });
  const run = cliOf(server);
  await using pairs = await startMtlsPairs({ server, pairs: PAIRS });
  await using load = loadPairs(pairs, PAIRS);
  const at = pairs.callee.at('0');
  for (let round = 1; round <= 2; round += 1) {
    const active = await authorityOf(run, 'active');
    // Of the CA before this one until it is rotated.
    const old = await waitUntil('an SVID of the active CA', LIMIT_MS, async () => {
      const held = await fetchIdentity(server.socket, 'spiffe://example.test/old');
      return (await getOnce(at, held)) === 200 && held;
    });
    const before = await pairs.serials();
    await run.text('authority', 'prepare', 'x509');
    await run.text('authority', 'activate', 'x509', await authorityOf(run, 'prepared'));
    const created = await run(
      'entry',
      'create',
      '--spiffe-id',
      `${WEB}/${round}`,
      '--selector',
      OWN_SELECTOR,
      '--x509-svid-ttl',
      '5m',
    );
    assert.equal(created.code, 0, created.err);
    const fresh = await fetchIdentity(server.socket, `${WEB}/${round}`);
    assert.equal(await getOnce(at, fresh), 200, 'signed by the new CA');
    assert.equal(await getOnce(at, old), 200, 'signed by the old CA');
    await waitUntil('all to hold SVIDs of the new CA', 20_000, async () => {
      const now = await pairs.serials();
      return before.every((serial) => !now.includes(serial));
    });
    await run.text('authority', 'taint', 'x509', active);
    await run.text('authority', 'revoke', 'x509', active);
    await waitUntil('the old root to be gone', LIMIT_MS, async () => (await getOnce(at, old)) === 0);
    assert.equal(await getOnce(at, fresh), 200);
  }
  await load.stop();
  t.diagnostic(countStatuses(load.samples()));
  assert.deepEqual(load.failed(), []);
});
