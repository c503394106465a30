import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noMetrics, silentLogger } from '../../../src/core/index.ts';
import { EnvoyTable } from '../../../src/discovery/envoy-table.ts';
import type { EncodedResource, ResourceFacts } from '../../../src/discovery/resource-view.ts';
import type { ResourceVersion } from '../../../src/discovery/stream-books.ts';
import { createTestClock } from '../../support/test-clock.ts';

function resource(name: string, version: string, facts: ResourceFacts): EncodedResource {
  return { name, version, bytes: new Uint8Array(0), facts };
}

const at = (name: string, version: string): ResourceVersion => ({ name, version });

test('Envoys with older rules than those in force are counted for each policy, and the last to catch up is told', async () => {
  const clock = createTestClock();
  const lines: unknown[] = [];
  const behind: string[] = [];
  const table = new EnvoyTable({
    clock,
    logger: { ...silentLogger, debug: (fields, message) => lines.push({ fields, message }) },
    metrics: {
      ...noMetrics,
      gauge: (name, { policy = '' }: { readonly policy?: string }, value) => {
        if (name === 'svidgate_offload_envoys_behind') behind.push(`${policy} ${value}`);
      },
    },
    ackTimeoutMs: 30_000,
  });
  const NAME = 'svidgate.offload.default';
  const rules = (version: string, policy = 'default'): EncodedResource =>
    resource(`svidgate.offload.${policy}`, version, { kind: 'offload', policyDigest: '', policy });
  const [one, other, third] = [7, 8, 9].map((pid) => table.open({ pid, uid: 1 }));
  assert.ok(one && other && third);
  for (const stream of [one, other]) stream.sent([rules('a')]);
  third.sent([rules('a', 'other'), resource('svidgate.offload.unknown', 'a', { kind: 'offload' })]);
  one.acknowledged([at(NAME, 'a')]);
  one.sent([rules('a')]);
  assert.deepEqual(behind.splice(0), ['default 1', 'default 2', 'other 1', 'default 1']);
  await clock.advance(20);
  other.sent([rules('b')]);
  other.acknowledged([at(NAME, 'a')]);
  assert.deepEqual(behind.splice(0), [], 'an answer to what was sent before');
  other.refused([at(NAME, 'b')], 'no');
  assert.deepEqual([behind.splice(0), lines.splice(0)], [[], []], 'a refusal leaves it behind');
  other.sent([rules('none')]);
  other.acknowledged([at(NAME, 'none')]);
  assert.deepEqual(behind.splice(0), ['default 0']);
  assert.deepEqual(lines.splice(0), [
    { fields: { policy: 'default', count: 2, duration_ms: 20 }, message: 'all envoys run the rules in force' },
  ]);
  third[Symbol.dispose]();
  assert.deepEqual(behind.splice(0), ['other 0'], 'who is gone runs nothing');
  other.sent([rules('c')]);
  assert.deepEqual(behind, ['default 1']);
});
