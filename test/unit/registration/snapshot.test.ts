import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { createSnapshot } from '../../../src/registration/index.ts';
import { parseSelector, parseSpiffeId, type RegistrationEntry, type Selector } from '../../../src/spiffe/index.ts';

function entryOf(entryId: string, selectors: readonly string[]): RegistrationEntry {
  return {
    entryId,
    spiffeId: parseSpiffeId(`spiffe://td.test/${entryId}`),
    selectors: [...new Set(selectors)].sort().map(parseSelector),
  };
}

const selectors = (...texts: readonly string[]): ReadonlySet<Selector> => new Set(texts.map(parseSelector));
const ids = (entries: readonly RegistrationEntry[]): string[] => entries.map(({ entryId }) => entryId);

test('an entry matches a caller that has all of its selectors', () => {
  const snapshot = createSnapshot([
    entryOf('a', ['unix:uid:1']),
    entryOf('b', ['unix:uid:1', 'unix:path:/b']),
    entryOf('c', ['unix:uid:2']),
  ]);
  for (const [has, expected] of [
    [[], []],
    [['unix:uid:1'], ['a']],
    [['unix:path:/b'], []],
    [
      ['unix:path:/b', 'unix:uid:1', 'unix:gid:7'],
      ['a', 'b'],
    ],
    [['unix:path:/b', 'unix:uid:2'], ['c']],
    [['unix:uid:11'], []],
  ] as const) {
    assert.deepEqual(ids(snapshot.match(selectors(...has))), expected, has.join(' '));
  }
});

test('an entry without selectors would match nobody', () => {
  assert.deepEqual(createSnapshot([entryOf('a', [])]).match(selectors('unix:uid:1')), []);
});

test('a SPIFFE ID is registered while any entry gives it', () => {
  const snapshot = createSnapshot([entryOf('a', ['unix:uid:1'])]);
  assert.equal(snapshot.hasSpiffeId(parseSpiffeId('spiffe://td.test/a')), true);
  assert.equal(snapshot.hasSpiffeId(parseSpiffeId('spiffe://td.test/b')), false);
});

test('matching agrees with going through all entries', () => {
  const selector = fc.constantFrom('u:1', 'u:2', 'g:1', 'g:2', 'p:/a', 'p:/b', 'p:/c', 's:x');
  const set = fc.array(selector, { maxLength: 5 });
  fc.assert(
    fc.property(fc.array(fc.array(selector, { minLength: 1, maxLength: 4 }), { maxLength: 30 }), set, (all, has) => {
      const entries = all.map((texts, index) => entryOf(String(index).padStart(3, '0'), texts));
      const caller = selectors(...has);
      const expected = entries.filter((entry) => entry.selectors.every((wanted) => caller.has(wanted)));
      assert.deepEqual(createSnapshot(entries).match(caller), expected);
    }),
    { numRuns: 500 },
  );
});

test('a match among 100,000 entries takes well under a millisecond', () => {
  const entries = Array.from({ length: 100_000 }, (_, index) =>
    entryOf(String(index).padStart(6, '0'), [`unix:uid:${index % 40}`, 'unix:gid:0', `unix:path:/bin/${index % 3000}`]),
  );
  const snapshot = createSnapshot(entries);
  const caller = selectors('unix:uid:7', 'unix:gid:0', 'unix:path:/bin/7', 'unix:user:web');
  const started = performance.now();
  for (let round = 0; round < 200; round += 1) snapshot.match(caller);
  assert.ok((performance.now() - started) / 200 < 0.5);
  assert.ok(snapshot.match(caller).length > 0);
});
