import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OffloadedShares } from '../../../../src/evidence/records/offloaded-shares.ts';

test('one who sends all the time leaves room for others, and a record that is done makes room', () => {
  const shares = new OffloadedShares(400);
  const fill = (sender: number): number => {
    let count = 0;
    for (; shares.hasRoomFor(sender); count += 1) shares.add(sender);
    return count;
  };
  assert.equal(fill(1), 300);
  assert.equal(fill(2), 75);
  assert.equal(fill(3), 19);
  assert.equal(fill(1), 0);
  shares.remove(Array<number>(300).fill(1));
  assert.ok(fill(2) > 100, 'of what the first one left');
  assert.ok(fill(1) > 0);
  shares.clear();
  assert.equal(fill(2), 300);
});
