/** Run by runOnSmallDisk with 8 MB: policies come and go while the data directory is full. Asserts, exits 0 or 1. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noMetrics, silentLogger, systemClock, type Metrics } from '../../src/core/index.ts';
import { createPolicySnapshots, openDataDirectory, openSqliteDatastore } from '../../src/datastore/index.ts';
import { createPolicyEngine, type PolicyEngine } from '../../src/policy/index.ts';
import { waitUntil } from './wait-until.ts';

const LIMIT_MS = 60_000;
const disk = process.argv[2] ?? '';
const ballast = join(disk, 'ballast');
const elsewhere = mkdtempSync(join(tmpdir(), 'svidgate-policy-'));
process.on('exit', () => rmSync(elsewhere, { recursive: true }));
const policy = join(elsewhere, 'test.rego');

function put(x: number): void {
  // Its files take more than what is left in a page.
  writeFileSync(policy, `package test\nallow if input.x == ${x}\n# ${'x'.repeat(20_000)}\n`);
}

/** Takes all room that is left, to the byte. */
function fill(): void {
  for (const size of [4096, 1]) {
    try {
      for (;;) writeFileSync(ballast, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
}

let failures = 0;
const metrics: Metrics = {
  ...noMetrics,
  count: (name) => void (failures += Number(name === 'svidgate_policy_history_failures_total')),
};

async function allowed(engine: PolicyEngine): Promise<number> {
  for (const x of [1, 2, 3]) {
    const input = new TextEncoder().encode(JSON.stringify({ x }));
    if ((await engine.decide('default', input, { deadline: Date.now() + 5000 })).effect === 'allow') return x;
  }
  return 0;
}

const directory = await openDataDirectory(join(disk, 'data'));
const datastore = await openSqliteDatastore({ directory, clock: systemClock, logger: silentLogger });
const open = async (): Promise<{ engine: PolicyEngine; close: () => Promise<void> }> => {
  const engine = createPolicyEngine({
    policies: [{ name: 'default', path: policy, entrypoint: 'test/allow' }],
    evalTimeoutMs: 5000,
    memory: {
      history: datastore.policyHistory,
      snapshots: createPolicySnapshots(directory, { policies: ['default'] }),
    },
    clock: systemClock,
    logger: silentLogger,
    metrics,
  });
  const stop = new AbortController();
  await engine.start(stop.signal);
  const running = engine.run(stop.signal);
  return {
    engine,
    async close() {
      stop.abort();
      await running;
    },
  };
};
const written = async (): Promise<readonly string[]> =>
  (await datastore.policyHistory.list('default')).map(({ kind }) => kind);

put(1);
const first = await open();
const { engine } = first;
put(2);
await waitUntil('2 to be allowed', LIMIT_MS, async () => (await allowed(engine)) === 2);
await waitUntil('its event', LIMIT_MS, async () => (await written()).length === 2);
assert.equal(failures, 0);

fill();
// What the datastore has left within its own files.
for (let number = 0; number < 200; number += 1) {
  try {
    await datastore.documents.write('ballast', 'x'.repeat(1000 * number));
  } catch {
    break;
  }
}
put(3);
await waitUntil('3 to be allowed, though nothing can be written', LIMIT_MS, async () => (await allowed(engine)) === 3);
await waitUntil('that to be told', LIMIT_MS, () => failures > 0);
await assert.rejects(engine.rollback('default', { by: 'uid:0' }, AbortSignal.timeout(LIMIT_MS)), {
  code: 'datastore_failed',
});
assert.equal(await allowed(engine), 3, 'what cannot be recorded has not happened');

rmSync(ballast);
await waitUntil('the event to be written after all', LIMIT_MS, async () => (await written()).length === 3);
await engine.rollback('default', { by: 'uid:0' }, AbortSignal.timeout(LIMIT_MS));
assert.equal(await allowed(engine), 2);
await first.close();
const second = await open();
assert.equal(await allowed(second.engine), 2, 'after a restart');
await second.close();
assert.deepEqual(await written(), ['activated', 'activated', 'activated', 'rolled_back']);
await datastore.close();
await directory.close();
