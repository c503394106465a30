/** The files of what is in force, as the engine tells of them. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { createPolicyEngine, type LiveSnapshots } from '../../src/policy/index.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 60_000;
const policy = (x: number): string => `package test\n\nallow if input.x == ${x}\n`;
const TEST = 'package test_test\n\ntest_two if data.test.allow with input as {"x": 2}\n';

test('files are told of while they are tried, when they are in force, and not any more at the end', async () => {
  await using folder = await tempFolder();
  const write = (name: string, text: string): Promise<void> => writeFile(join(folder.path, name), text);
  await write('test.rego', policy(1));
  const source = { path: folder.path, entrypoint: 'test/allow' };
  const engine = createPolicyEngine({
    policies: [
      { ...source, name: 'shown', showsSnapshots: true },
      { ...source, name: 'other' },
    ],
    evalTimeoutMs: 5000,
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const seen: string[] = [];
  const shown = engine.snapshots('shown');
  const show = ({ inForce, candidate }: LiveSnapshots): string =>
    [inForce, candidate].map((each) => /x == (\d)/.exec(each?.files.modules['test.rego'] ?? '')?.[1] ?? '-').join(' ');
  shown.subscribe((value) => seen.push(show(value)));
  const stop = new AbortController();
  await engine.start(stop.signal);
  const running = engine.run(stop.signal);
  try {
    assert.deepEqual(seen, ['- 1', '1 -']);
    await write('test_test.rego', TEST);
    await write('test.rego', policy(3));
    await waitUntil('the tests to refuse it', LIMIT_MS, () => seen.at(-1) === '1 -' && seen.length > 2);
    assert.deepEqual(seen.splice(0), ['- 1', '1 -', '1 3', '1 -']);
    await write('test.rego', policy(2));
    await waitUntil('the next to be in force', LIMIT_MS, () => seen.includes('2 -'));
    assert.deepEqual(seen.splice(0), ['1 2', '2 -']);
    assert.deepEqual([engine.snapshots('other').value, engine.snapshots('nobody').value], [{}, {}]);
  } finally {
    stop.abort();
    await running;
  }
  assert.deepEqual(seen, ['- -']);
});
