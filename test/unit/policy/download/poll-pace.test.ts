import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createPollPace, type PollOutcome } from '../../../../src/policy/download/poll-pace.ts';

const UNCHANGED: PollOutcome = { kind: 'unchanged', canWait: undefined };
const CHANGED: PollOutcome = { kind: 'changed', canWait: true };
const FAILED: PollOutcome = { kind: 'failed' };

describe('the pause before the next question', () => {
  const cases: readonly (readonly [name: string, random: number, expected: number])[] = [
    ['at least three quarters of the interval', 0, 45_000],
    ['at most five quarters of it', 0.999999, 75_000],
  ];
  for (const [name, random, expected] of cases) {
    test(`is ${name}`, () => {
      const pace = createPollPace({ intervalMs: 60_000, longPollMs: 0, random: () => random });
      assert.equal(Math.round(pace.after(UNCHANGED, 5)), expected);
      assert.equal(pace.waitMs, 0);
    });
  }

  test('grows while nothing comes, from a second to the interval, and is the usual one afterwards', () => {
    const pace = createPollPace({ intervalMs: 10_000, longPollMs: 0, random: () => 0 });
    const pauses = Array.from({ length: 6 }, () => pace.after(FAILED, 5));
    assert.deepEqual(pauses, [1000, 2000, 4000, 8000, 10_000, 10_000]);
    assert.equal(pace.after(UNCHANGED, 5), 7500);
    assert.equal(pace.after(FAILED, 5), 1000);
  });

  test('is not longer than an interval of less than a second', () => {
    const pace = createPollPace({ intervalMs: 50, longPollMs: 0, random: () => 0 });
    assert.equal(pace.after(FAILED, 5), 50);
  });
});

describe('a place that can wait', () => {
  const options = { intervalMs: 60_000, longPollMs: 30_000, random: () => 0 };

  test('is told to after its first answer, unless it says that it cannot', () => {
    const pace = createPollPace(options);
    assert.equal(pace.waitMs, 0);
    assert.equal(pace.after(CHANGED, 200), 800);
    assert.equal(pace.waitMs, 30_000);
    assert.equal(pace.after({ kind: 'changed', canWait: false }, 10_000), 45_000);
    assert.equal(pace.waitMs, 0);
    assert.equal(pace.after(UNCHANGED, 10), 45_000);
  });

  test('is told to where its first answer was that nothing is new', () => {
    const pace = createPollPace(options);
    pace.after(UNCHANGED, 10);
    assert.equal(pace.waitMs, 30_000);
    assert.equal(pace.after(UNCHANGED, 30_000), 0);
  });

  test('and does not wait is asked by the interval', () => {
    const pace = createPollPace(options);
    pace.after(CHANGED, 10);
    assert.equal(pace.after(UNCHANGED, 10), 45_000);
  });

  test('and has news all the time is asked once a second', () => {
    const pace = createPollPace(options);
    pace.after(CHANGED, 10);
    assert.equal(pace.after(CHANGED, 10), 990);
  });

  test('and was cut is asked without waiting next', () => {
    const pace = createPollPace(options);
    pace.after(CHANGED, 10);
    assert.equal(pace.after(FAILED, 5000), 1000);
    assert.equal(pace.waitMs, 0);
    pace.after(UNCHANGED, 10);
    assert.equal(pace.waitMs, 30_000);
  });
});

test('nobody is asked more than about once a second, whatever comes', () => {
  const outcome = fc.oneof(
    fc.constant(FAILED),
    fc.record({
      kind: fc.constantFrom('changed' as const, 'unchanged' as const),
      canWait: fc.constantFrom(true, false, undefined),
    }),
  );
  const answers = fc.array(fc.tuple(outcome, fc.integer({ min: 0, max: 60_000 })), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(answers, fc.double({ min: 0, max: 0.999, noNaN: true }), (list, random) => {
      const pace = createPollPace({ intervalMs: 1000, longPollMs: 30_000, random: () => random });
      for (const [each, tookMs] of list) {
        const waited = pace.waitMs;
        assert.ok(tookMs + pace.after(each, tookMs) >= 500);
        assert.ok(waited === 0 || waited === 30_000);
      }
    }),
  );
});
