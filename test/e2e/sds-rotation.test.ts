/** SVIDs rotate at both ends of mTLS between two Envoys, and the server is ended and started, while requests go on: none fails. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { countStatuses } from '../../tools/demo/load.ts';
import { configFolder } from '../support/cli.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { loadPairs, pairEntries, startMtlsPairs } from '../support/mtls-pairs.ts';
import { SDS_PROTOCOLS } from '../support/sds-envoy.ts';
import { serveAgain } from '../support/serve-again.ts';
import { startTestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const ROTATIONS = Number(process.env['SVIDGATE_SDS_ROTATIONS'] ?? 50);
/** Sixteen SVIDs that live for 6 s each: about five rotations in a second. */
const PAIRS = 8;

const flavours = envoyVersions().flatMap((version) => SDS_PROTOCOLS.map((protocol) => ({ ...version, ...protocol })));

for (const { name, path, skip, protocol, title } of flavours) {
  const what = `${ROTATIONS} rotations at both ends of mTLS, ${name}, ${title}`;
  test(`${what}: no request fails, over connections that are kept and new ones`, { skip }, async (t) => {
    await using server = await startTestServer({
      entries: pairEntries(PAIRS),
      config: 'authority: { x509_svid_ttl: 6s }',
    });
    const executable = path === undefined ? {} : { executable: path };
    await using pairs = await startMtlsPairs({ server, pairs: PAIRS, protocol, ...executable });
    const before = await pairs.updates();
    const first = await pairs.serials();
    await using load = loadPairs(pairs, PAIRS);
    const limitMs = 20_000 + ROTATIONS * 1000;
    await waitUntil('all rotations', limitMs, async () => (await pairs.updates()) - before >= ROTATIONS);
    await load.stop();
    const samples = load.samples();
    t.diagnostic(`${(await pairs.updates()) - before} rotations, ${countStatuses(samples)}`);
    assert.deepEqual(load.failed(), []);
    assert.ok(samples.length > ROTATIONS);
    const last = await pairs.serials();
    assert.equal(last.length, 2 * PAIRS);
    const kept = last.filter((serial) => first.includes(serial));
    assert.deepEqual(kept, [], 'these were never rotated');
    for (const side of [pairs.callee, pairs.caller]) assert.equal(await side.sdsStat('ROOTCA', 'update_rejected'), 0);
  });
}

for (const { protocol, title } of SDS_PROTOCOLS) {
  test(`${title}: the server is killed, then told to end, and comes back under load: no request fails, and SVIDs go on rotating`, async (t) => {
    await using folder = await configFolder('entries: ./entries.yaml\nauthority: { x509_svid_ttl: 16s }');
    await writeFile(join(folder.path, 'entries.yaml'), pairEntries(2));
    await using program = await serveAgain(folder.path);
    const server = { folder: folder.path, socket: `unix:${join(folder.path, 'api.sock')}` };
    await using pairs = await startMtlsPairs({ server, pairs: 2, protocol });
    await using load = loadPairs(pairs, 2);
    const rotated = async (why: string): Promise<void> => {
      const held = await pairs.serials();
      await waitUntil(`fresh SVIDs everywhere ${why}`, 20_000, async () => {
        const now = await pairs.serials();
        return held.every((serial) => !now.includes(serial));
      });
    };
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await program.stop(signal);
      const counted = load.samples().length;
      await waitUntil('requests without a server', 10_000, () => load.samples().length > counted + 50);
      await program.start();
      await rotated(`after ${signal}`);
    }
    await rotated('by themselves');
    await load.stop();
    t.diagnostic(countStatuses(load.samples()));
    assert.deepEqual(load.failed(), []);
  });
}
