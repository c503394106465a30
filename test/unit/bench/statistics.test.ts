import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interleaved, median, medianRatio, percentile, rounded } from '../../../bench/statistics.ts';

test('percentiles are values that were measured, by nearest rank, in whatever order they came', () => {
  const values = [40, 10, 30, 20];
  const cases = [
    { share: 0, expected: 10 },
    { share: 0.25, expected: 10 },
    { share: 0.26, expected: 20 },
    { share: 0.5, expected: 20 },
    { share: 0.99, expected: 40 },
    { share: 1, expected: 40 },
  ];
  for (const { share, expected } of cases) assert.equal(percentile(values, share), expected, `share ${share}`);
  assert.equal(median([3]), 3);
  assert.throws(() => percentile([], 0.5), /no values/);
});

test('a ratio is taken round by round, so that a slow round slows both of its sides', () => {
  assert.equal(medianRatio([10, 1, 30], [20, 2, 60]), 0.5);
  assert.ok(Number.isNaN(medianRatio([1], [])));
});

test('numbers keep three digits, and no fraction where nobody reads it', () => {
  const cases = [
    [0.0123456, 0.0123],
    [1.23456, 1.23],
    [99.96, 100],
    [1234.5, 1235],
    [0, 0],
  ] as const;
  for (const [value, expected] of cases) assert.equal(rounded(value), expected);
});

test('variants take turns, round by round', async () => {
  const order: string[] = [];
  const variant = (name: string) => async (): Promise<string> => {
    order.push(name);
    return `${name}${order.length}`;
  };
  const results = await interleaved(2, { a: variant('a'), b: variant('b') });
  assert.deepEqual(order, ['a', 'b', 'a', 'b']);
  assert.deepEqual(results, { a: ['a1', 'a3'], b: ['b2', 'b4'] });
});
