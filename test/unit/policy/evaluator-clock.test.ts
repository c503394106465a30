import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger, systemClock, type Clock } from '../../../src/core/index.ts';
import { Evaluator } from '../../../src/policy/evaluator.ts';
import { json, load, never } from './support.ts';

const POLICY = `package test

allow if input.x == 1

allow if {
	input.slow
	xs := numbers.range(1, 9000)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 1
}
`;
const HOUR = 3600_000;

for (const stepMs of [-2 * HOUR, 2 * HOUR]) {
  test(`a clock that is set by ${stepMs / HOUR} hours while an evaluation is stuck delays no answer`, async () => {
    let offset = 0;
    const clock: Clock = { now: () => Date.now() + offset, sleep: (ms, signal) => systemClock.sleep(ms, signal) };
    const evaluator = await Evaluator.start(await load(POLICY), { clock, logger: silentLogger, queueLimit: 10 }, never);
    try {
      const startedAt = performance.now();
      const stuck = evaluator.evaluate(json({ slow: true }), { deadline: clock.now() + 300 });
      offset = stepMs;
      // It comes after the step, and may have to wait for the one that is stuck, but not for as long as the step.
      const behind = evaluator.evaluate(json({ x: 1 }), { deadline: clock.now() + 20_000 });
      assert.deepEqual(await stuck, { kind: 'timeout' });
      assert.deepEqual(await behind, { kind: 'value', value: true });
      assert.ok(performance.now() - startedAt < 15_000);
    } finally {
      await evaluator.close();
    }
  });
}
