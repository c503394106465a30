/** An Envoy refuses what it is sent: it goes on with what it had, everybody can see it, and the next that is right is taken. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pemEncode } from '../../src/pki/index.ts';
import { foreignPeer, rootsOf } from '../support/foreign-peer.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf, type ServerCli } from '../support/run-cli.ts';
import { SDS_PROTOCOLS, startSdsEnvoy } from '../support/sds-envoy.ts';
import { entriesFor, OWN_SELECTOR } from '../support/server.ts';
import { createTestTrustDomain } from '../support/test-trust-domain.ts';
import { getOnce } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ORDERS = 'spiffe://example.test/orders';
const LIMIT_MS = 15_000;
/** A list without a signature: svidgate passes on what is a sequence, and leaves it to Envoy what it takes. */
const DAMAGED_LIST = pemEncode('X509 CRL', new Uint8Array([0x30, 0]));

const CONFIG = `entries: ./entries.yaml
sds: { secrets: { web-clients: { kind: validation_context, ca_file: ./clients.pem, allow: [${ORDERS}] } } }
`;

interface Held {
  readonly name: string;
  readonly version: string;
  readonly acknowledged_version?: string;
  readonly acknowledged: boolean;
  readonly unapplied: boolean;
  readonly last_nack?: string;
  readonly serial?: string;
}

async function heldBy(run: ServerCli, name: string): Promise<Held> {
  const { envoys } = (await run.json('status')) as { readonly envoys: readonly { readonly resources: Held[] }[] };
  return envoys.flatMap(({ resources }) => resources).find((held) => held.name === name) ?? assert.fail('not held');
}

/** What the status says of secrets that are not applied; empty when it says nothing. */
async function unappliedWarning(run: ServerCli): Promise<string> {
  const { warnings } = (await run.json('status')) as { readonly warnings: readonly string[] };
  return warnings.find((warning) => warning.includes('sent to Envoys were refused')) ?? '';
}

/** What the log says of a secret that is not applied. */
function warningOf({ lines }: RestartableServer): RestartableServer['lines'][number] | undefined {
  return lines.find(({ level, message }) => level === 'warn' && message === 'envoy has not applied a secret');
}

for (const { protocol, title } of SDS_PROTOCOLS) {
  test(`${title}: a validation context that Envoy refuses is shown and not sent again; the next one is taken`, async () => {
    const [first, second] = [await createTestTrustDomain('first.test'), await createTestTrustDomain('second.test')];
    const [known, late] = [await foreignPeer(first), await foreignPeer(second)];
    const both = rootsOf(first) + rootsOf(second);
    await using server = await restartableServer({
      config: CONFIG,
      files: { 'entries.yaml': entriesFor('/orders'), 'clients.pem': rootsOf(first) },
    });
    await server.start();
    const run = cliOf(server);
    const inward = [{ name: 'in', svid: ORDERS, context: 'web-clients' }];
    await using envoy = await startSdsEnvoy({ name: 'orders', server, protocol, inward });
    const at = envoy.at('in');
    assert.equal(await getOnce(at, known), 200);
    assert.equal(await getOnce(at, late), 0);
    const good = await heldBy(run, 'web-clients');
    assert.equal(good.acknowledged_version, good.version);

    await writeFile(join(server.folder, 'clients.pem'), both + DAMAGED_LIST);
    const refused = await waitUntil('the refusal to be known', LIMIT_MS, async () => {
      const held = await heldBy(run, 'web-clients');
      return held.last_nack !== undefined && held;
    });
    assert.match(refused.last_nack ?? '', /trusted CA/);
    assert.deepEqual(
      [refused.acknowledged, refused.unapplied, refused.acknowledged_version],
      [false, true, good.version],
    );
    assert.notEqual(refused.version, good.version);
    assert.equal(await server.metric('svidgate_sds_nacks_total'), 1);
    await waitUntil('the gauge', LIMIT_MS, async () => (await server.metric('svidgate_sds_unapplied_rotations')) === 1);
    assert.match(await unappliedWarning(run), /^1 of the secrets sent to Envoys were refused/);
    assert.match(warningOf(server)?.reason ?? '', /^refused: .*trusted CA/);
    const pushes = await server.metric('svidgate_sds_pushes_total');
    for (let request = 0; request < 20; request += 1) {
      assert.equal(await getOnce(at, known), 200, 'by what it had');
      assert.equal(await getOnce(at, late), 0);
    }
    assert.equal(await server.metric('svidgate_sds_pushes_total'), pushes);
    assert.equal(await envoy.sdsStat('web-clients', 'update_rejected'), 1);

    await writeFile(join(server.folder, 'clients.pem'), both);
    await waitUntil('the new CA to count', LIMIT_MS, async () => (await getOnce(at, late)) === 200);
    assert.equal(await getOnce(at, known), 200);
    const taken = await waitUntil('it to be acknowledged', LIMIT_MS, async () => {
      const held = await heldBy(run, 'web-clients');
      return held.acknowledged && held;
    });
    assert.deepEqual([taken.unapplied, taken.acknowledged_version], [false, taken.version]);
    assert.equal(await unappliedWarning(run), '');
    await waitUntil('the gauge', LIMIT_MS, async () => (await server.metric('svidgate_sds_unapplied_rotations')) === 0);
    assert.equal(await server.metric('svidgate_sds_nacks_total'), 1);
  });
}

test('an Envoy that hangs is shown as one that has not taken its new SVID, until it goes on', async () => {
  await using server = await restartableServer({
    config: 'sds: { ack_timeout: 1s }\n',
  });
  await server.start();
  const run = cliOf(server);
  const named = ['--spiffe-id', ORDERS, '--selector', OWN_SELECTOR];
  const { entry_id: entryId } = (await run.json('entry', 'create', ...named)) as { readonly entry_id: string };
  const inward = [{ name: 'in', svid: ORDERS, context: 'ROOTCA' }];
  await using envoy = await startSdsEnvoy({ name: 'orders', server, inward });
  const before = await heldBy(run, ORDERS);
  process.kill(envoy.envoy.pid, 'SIGSTOP');
  try {
    await run.text('entry', 'update', entryId, '--dns-name', 'orders.example.test');
    const late = await waitUntil('the time to run out', LIMIT_MS, async () => {
      const held = await heldBy(run, ORDERS);
      return held.unapplied && held;
    });
    assert.deepEqual([late.acknowledged, late.acknowledged_version], [false, before.version]);
    await waitUntil('the gauge', LIMIT_MS, async () => (await server.metric('svidgate_sds_unapplied_rotations')) === 1);
    assert.equal(warningOf(server)?.reason, 'no answer in 1 s');
  } finally {
    process.kill(envoy.envoy.pid, 'SIGCONT');
  }
  const taken = await waitUntil('it to go on', LIMIT_MS, async () => {
    const held = await heldBy(run, ORDERS);
    return held.acknowledged && held;
  });
  assert.equal(taken.unapplied, false);
  assert.deepEqual(await envoy.serials(), [taken.serial]);
  await waitUntil('the gauge', LIMIT_MS, async () => (await server.metric('svidgate_sds_unapplied_rotations')) === 0);
});
