import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withUniqueHints } from '../../../src/identity/index.ts';
import { entry, watchCaller } from '../../support/watched-caller.ts';

test('of several with one hint the first stays; those without a hint all do', () => {
  const all = [{ id: 1, hint: 'a' }, { id: 2 }, { id: 3, hint: 'a' }, { id: 4, hint: 'b' }, { id: 5 }];
  assert.deepEqual(
    withUniqueHints(all).map(({ id }) => id),
    [1, 2, 4, 5],
  );
});

test('an SVID that is to come tells its hint when no entry before has the same', async () => {
  const entries = [{ ...entry('a', '/x'), hint: 'web' }, { ...entry('b', '/y'), hint: 'web' }, entry('c', '/z')];
  const stage = await watchCaller(entries);
  stage.failing = true;
  stage.entries.set({ match: () => [{ ...entry('d', '/w'), hint: 'db' }, ...entries], concerns: () => true });
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.pending, [
    { spiffeId: 'spiffe://example.test/w', isDefault: true, hint: 'db' },
  ]);
  stage.entries.set({
    match: () => [entries[0] ?? entry('a', '/x'), { ...entry('e', '/v'), hint: 'web' }],
    concerns: () => true,
  });
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.pending, [{ spiffeId: 'spiffe://example.test/v', isDefault: false }]);
  stage.entries.set({ match: () => [{ ...entry('e', '/v'), hint: 'web' }], concerns: () => true });
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.pending, [
    { spiffeId: 'spiffe://example.test/v', isDefault: true, hint: 'web' },
  ]);
  await stage.stop();
});
