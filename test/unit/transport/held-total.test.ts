import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/core/index.ts';
import { HeldTotal, type Holder } from '../../../src/transport/held-total.ts';

test('many small connections of one owner push nobody else out', () => {
  const total = new HeldTotal({ name: 'test', maxBytes: 1000, logger: silentLogger });
  const closed: string[] = [];
  const open = (owner: string, name: string): Holder => {
    const holder = { owner, held: 0, destroy: () => void closed.push(name) };
    total.add(holder);
    return holder;
  };
  const envoy = open('uid 101', 'envoy');
  total.change(envoy, 300);
  const hoards = Array.from({ length: 10 }, (_, at) => open('uid 1000', `hoard ${at}`));
  for (const [at, hoard] of hoards.entries()) total.change(hoard, 60 + at);
  assert.deepEqual(closed, []);
  total.change(envoy, 100);
  assert.deepEqual(closed, ['hoard 9']);
  total.change(envoy, 400);
  assert.deepEqual(closed, ['hoard 9', 'envoy'], 'who holds most now');
});
