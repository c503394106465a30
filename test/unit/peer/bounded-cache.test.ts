import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BoundedCache } from '../../../src/peer/bounded-cache.ts';

test('the oldest entries make room, and no order of changes grows it beyond its weight', () => {
  const cache = new BoundedCache<number>(10);
  for (const [key, weight] of [
    ['a', 4],
    ['b', 4],
    ['c', 4],
  ] as const)
    cache.set(key, weight, weight);
  assert.deepEqual([cache.get('a'), cache.get('b'), cache.get('c')], [undefined, 4, 4]);
  cache.set('huge', 11, 11);
  assert.equal(cache.get('huge'), undefined);
  assert.equal(cache.size, 2, 'nothing makes room for what does not fit');
  const change = fc.record({
    key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    weight: fc.integer({ min: 0, max: 12 }),
    isDeleted: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 50 }), (changes) => {
      const some = new BoundedCache<number>(10);
      for (const { key, weight, isDeleted } of changes) {
        if (isDeleted) some.delete(key);
        else some.set(key, weight, weight);
        if (!isDeleted && weight <= 10) assert.equal(some.get(key), weight);
        const kept = ['a', 'b', 'c', 'd', 'e'].map((name) => some.get(name) ?? 0);
        assert.ok(kept.reduce((sum, one) => sum + one, 0) <= 10);
      }
    }),
  );
});
