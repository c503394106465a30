/** One Envoy among many callers, some of which misbehave: what it is sent arrives in time. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { configFolder, serve } from '../support/cli.ts';
import { linkEnvoy } from '../support/envoy.ts';
import { cliOf, type ServerCli } from '../support/run-cli.ts';
import { SDS_PROTOCOLS, startSdsEnvoy, type SdsEnvoy } from '../support/sds-envoy.ts';
import { linkNode, startSdsLoad, type SdsLoad, type SdsLoadKind, type SdsLoadReport } from '../support/sds-load.ts';
import { OWN_SELECTOR } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const MEASURED = 'spiffe://example.test/measured';
const CHANGES = 12;
/** Far more than it takes: the machine has other things to do. */
const LIMIT_MS = 5000;
const LOADS = [
  { kind: 'hold', connections: 200 },
  { kind: 'stuck', connections: 20 },
  { kind: 'flood', connections: 2 },
] as const;

const CONFIG = `entries: ./entries.yaml
attestation: { unix: { discover_workload_path: true } }
sds: { limits: { requests_per_second: 100 } }
telemetry: { listen: off }
`;

interface EntryList {
  readonly entries: readonly { readonly entry_id: string; readonly spiffe_id: string }[];
}

/** Milliseconds from asking for each change of the entry until the Envoy serves with the SVID that it brought. */
async function changeTimes(run: ServerCli, envoy: SdsEnvoy, entryId: string): Promise<ChangeTimes> {
  const times: number[] = [];
  for (let change = 0; change < CHANGES; change += 1) {
    const [held] = await envoy.serials();
    const askedAt = performance.now();
    await run.text('entry', 'update', entryId, '--dns-name', `n${Math.round(askedAt)}.example.test`);
    await waitUntil('the Envoy to hold the new SVID', LIMIT_MS, async () => (await envoy.serials())[0] !== held);
    times.push(Math.round(performance.now() - askedAt));
  }
  times.sort((a, b) => a - b);
  return { median: times[CHANGES / 2] ?? 0, longest: times.at(-1) ?? 0 };
}

interface ChangeTimes {
  readonly median: number;
  readonly longest: number;
}

for (const { protocol, title } of SDS_PROTOCOLS) {
  test(`${title}: 200 Envoys' worth of streams, some that never read and a flood do not disturb an Envoy`, async (t) => {
    await using folder = await configFolder(CONFIG);
    const { path } = folder;
    const envoyLink = await linkEnvoy(path, 'envoy-measured');
    const nodes = new Map<SdsLoadKind, string>();
    for (const { kind } of LOADS) nodes.set(kind, await linkNode(path, `node-${kind}`));
    const entries = LOADS.map(({ kind }) => ({
      spiffe_id: `spiffe://example.test/${kind}`,
      selectors: [OWN_SELECTOR, `unix:path:${nodes.get(kind) ?? ''}`],
    }));
    await writeFile(join(path, 'entries.yaml'), JSON.stringify({ entries }));
    await using server = serve(path);
    await server.started();
    const run = cliOf({ folder: path });
    const selectors = ['--selector', OWN_SELECTOR, '--selector', `unix:path:${envoyLink}`];
    await run.text('entry', 'create', '--spiffe-id', MEASURED, ...selectors);
    const { entries: all } = (await run.json('entry', 'list')) as EntryList;
    const entryId = all.find((entry) => entry.spiffe_id === MEASURED)?.entry_id ?? '';

    const socket = join(path, 'api.sock');
    const at = { folder: path, socket: `unix:${socket}` };
    const inward = [{ name: 'in', svid: MEASURED, context: 'ROOTCA' }];
    await using envoy = await startSdsEnvoy({ name: 'measured', server: at, protocol, executable: envoyLink, inward });
    const alone = await changeTimes(run, envoy, entryId);

    await using loads = new AsyncDisposableStack();
    const running = new Map<SdsLoadKind, SdsLoad>();
    for (const load of LOADS) {
      running.set(load.kind, loads.use(await startSdsLoad({ node: nodes.get(load.kind) ?? '', socket, ...load })));
    }
    const beside = await changeTimes(run, envoy, entryId);
    // A new bundle for all of them, just before.
    await run.text('authority', 'prepare', 'x509');
    const amid = await changeTimes(run, envoy, entryId);
    await using second = await startSdsEnvoy({ name: 'second', server: at, protocol, executable: envoyLink, inward });
    assert.equal((await second.serials()).length, 1);
    const reports: Partial<Record<SdsLoadKind, SdsLoadReport>> = {};
    for (const [kind, load] of running) reports[kind] = await load.stop();
    t.diagnostic(
      `changes took, in ms: ${JSON.stringify({ alone, beside, amid })}; the others: ${JSON.stringify(reports)}`,
    );
    assert.deepEqual(reports.hold?.ends, {});
    assert.ok((reports.hold?.answers ?? 0) >= 200 * 3 + 200 * 2, 'all were sent the new bundle');
    assert.deepEqual(reports.stuck?.ends, {});
    assert.deepEqual(Object.keys(reports.flood?.ends ?? {}), ['RESOURCE_EXHAUSTED']);
    assert.ok(server.child.exitCode === null);
  });
}
