import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairTurns } from '../../../../src/endpoints/access-log/fair-turns.ts';

test('each process has its turn, however many streams another has, and one turn of the event loop is one turn', async () => {
  const turns = new FairTurns();
  const taken: string[] = [];
  let loops = 0;
  const tick = (): void => {
    loops += 1;
    if (taken.length < 8) setImmediate(tick);
  };
  setImmediate(tick);
  const stream = async (pid: number, name: string): Promise<void> => {
    for (let turn = 0; turn < 2; turn += 1) {
      await turns.take(pid);
      taken.push(name);
    }
  };
  await Promise.all([stream(1, 'a'), stream(1, 'b'), stream(1, 'c'), stream(2, 'other')]);
  assert.deepEqual(taken, ['a', 'other', 'b', 'other', 'c', 'a', 'b', 'c']);
  assert.ok(loops >= 7, `${loops} turns of the event loop`);
});
