/** More checks than can be evaluated. At the endpoint itself: with sockets it would be their clients that are late. */
import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';
import { collectGarbage } from '../support/collect-garbage.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';
import { PLAIN_CASE, type Case } from './case.ts';
import { readReply } from './reply.ts';
import { encodeCase } from './wire.ts';
import { createWorld, type World } from './world.ts';

const AT_ONCE = 2000;
const STUCK: Case = { ...PLAIN_CASE, extensions: [['svidgate.policy', 'faulty']], path: '/spin' };
const DEADLINES_MS = [50, 200, 400, 2000];

/** The reasons of the denies, and by how much the latest answer was late, less what this thread had to do. */
async function ask(world: World, round: number): Promise<{ readonly reasons: Set<string>; readonly lateMs: number }> {
  const reasons = new Set<string>();
  let lateMs = -Infinity;
  const encoded = Array.from({ length: AT_ONCE }, (_, number) =>
    encodeCase({ ...STUCK, headers: [['x-open', `${round} ${number}`]] }, world.cast),
  );
  const loop = performance.eventLoopUtilization();
  const checks = encoded.map(async (bytes, number) => {
    const deadlineMs = DEADLINES_MS[number % DEADLINES_MS.length] ?? 0;
    const startedAt = performance.now();
    const reply = await world.ask(bytes, { caller: 'attested', deadlineMs });
    lateMs = Math.max(lateMs, performance.now() - startedAt - deadlineMs);
    assert.equal(reply.kind, 'bytes');
    const verdict = readReply(reply.kind === 'bytes' ? reply.bytes : new Uint8Array());
    assert.equal(verdict.kind, 'deny');
    reasons.add(verdict.reason);
  });
  await Promise.all(checks);
  return { reasons, lateMs: lateMs - performance.eventLoopUtilization(loop).active };
}

function heldMb(): number {
  collectGarbage();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return (heapUsed + external + arrayBuffers) / 2 ** 20;
}

test('2,000 checks at once of a policy that is stuck end in explicit denies by their deadlines, and leave nothing behind', async (t) => {
  await using folder = await tempFolder();
  await using world = await createWorld(folder.path);
  await ask(world, 0); // makes code and buffers
  const before = heldMb();
  for (let round = 1; round <= 5; round += 1) {
    const { reasons, lateMs } = await ask(world, round);
    assert.ok(lateMs <= 0, `an answer was ${lateMs} ms late`);
    assert.ok(reasons.has('overloaded') && reasons.has('evaluation_timeout'), [...reasons].join());
  }
  t.diagnostic(`held before ${before.toFixed(1)} MB, after 10,000 more ${heldMb().toFixed(1)} MB`);
  await waitUntil('the memory to be given back', 10_000, () => heldMb() < before + 10);
  const reply = await world.ask(encodeCase({ ...PLAIN_CASE, path: '/open' }, world.cast), PLAIN_CASE);
  assert.equal(reply.kind === 'bytes' && readReply(reply.bytes).kind, 'allow');
});
