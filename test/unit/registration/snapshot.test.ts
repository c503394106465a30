import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { createSnapshot } from '../../../src/registration/index.ts';
import { byEntryId, EntriesSnapshot } from '../../../src/registration/snapshot.ts';
import {
  parseSelector,
  parseSpiffeId,
  type RegisteredEntry,
  type RegistrationEntry,
  type Selector,
} from '../../../src/spiffe/index.ts';

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

test('an entry that is for a secret store matches nobody, and its SPIFFE ID is registered', () => {
  const entry = { ...entryOf('a', ['unix:uid:1']), storeSvid: true };
  const snapshot = createSnapshot([entry]);
  assert.deepEqual(snapshot.match(selectors('unix:uid:1')), []);
  assert.equal(snapshot.hasSpiffeId(entry.spiffeId), true);
});

const selectorArbitrary = fc.constantFrom('u:1', 'u:2', 'g:1', 'g:2', 'p:/a', 'p:/b');
const changeArbitrary = fc.record({
  id: fc.constantFrom(...Array.from({ length: 30 }, (_, index) => `e${index}`)),
  texts: fc.option(fc.array(selectorArbitrary, { minLength: 1, maxLength: 4 })),
});

test('a snapshot made by changes is the one made anew, and tells whom each change concerns', () => {
  const batches = fc.array(fc.array(changeArbitrary, { maxLength: 25 }), { maxLength: 8 });
  const callers = fc.array(fc.array(selectorArbitrary, { maxLength: 4 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(batches, callers, (allChanges, allCallers) => {
      let snapshot = EntriesSnapshot.empty(() => 0);
      const model = new Map<string, RegistrationEntry>();
      for (const changes of allChanges) {
        const batch = new Map<string, RegisteredEntry | undefined>();
        for (const { id, texts } of changes) {
          const entry = texts === null ? undefined : entryOf(id, texts);
          batch.set(id, entry && { entry, source: 'api', revision: 0, createdAt: 0 });
        }
        for (const [id, registered] of batch) {
          if (registered === undefined) model.delete(id);
          else model.set(id, registered.entry);
        }
        const before = snapshot;
        const beforeMatches = allCallers.map((has) => before.match(selectors(...has)));
        snapshot = snapshot.with(batch);
        const anew = createSnapshot([...model.values()].sort(byEntryId));
        assert.deepEqual(snapshot.entries, anew.entries);
        for (const [index, has] of allCallers.entries()) {
          const caller = selectors(...has);
          const matches = snapshot.match(caller);
          assert.deepEqual(matches, anew.match(caller));
          assert.deepEqual(before.match(caller), beforeMatches[index], 'the one before has not changed');
          if (!snapshot.concerns(caller)) assert.deepEqual(matches, beforeMatches[index]);
        }
        for (const { id } of changes) {
          assert.equal(snapshot.find(id)?.entry, model.get(id));
          const spiffeId = parseSpiffeId(`spiffe://td.test/${id}`);
          assert.equal(snapshot.hasSpiffeId(spiffeId), model.has(id));
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('a change concerns those who have all selectors of an old or a new version, and nobody else', () => {
  const many = Array.from({ length: 40 }, (_, index) => entryOf(`m${index}`, [`unix:uid:${index}`, 'unix:gid:0']));
  const registered = (entry: RegistrationEntry): RegisteredEntry => ({
    entry,
    source: 'api',
    revision: 0,
    createdAt: 0,
  });
  const start = EntriesSnapshot.empty(() => 0).with(new Map(many.map((entry) => [entry.entryId, registered(entry)])));
  const next = start.with(new Map([['m3', registered(entryOf('m3', ['unix:uid:99']))]]));
  for (const [snapshot, has, concerned] of [
    [next, ['unix:uid:3', 'unix:gid:0'], true],
    [next, ['unix:uid:99', 'unix:gid:7'], true],
    [next, ['unix:uid:3'], false],
    [next, ['unix:uid:4', 'unix:gid:0'], false],
    [next, [], false],
    // More changes than are looked at one by one.
    [start, ['unix:uid:39', 'unix:gid:0'], true],
    [start, ['unix:uid:40', 'unix:gid:0'], false],
    [start, ['unix:gid:0'], false],
  ] as const) {
    assert.equal(snapshot.concerns(selectors(...has)), concerned, has.join(' '));
  }
  assert.equal(next.find('m5')?.entry, many[5], 'what is unchanged is the same object');
});

describe('among 100,000 entries', () => {
  const entries = Array.from({ length: 100_000 }, (_, index) =>
    entryOf(`e${String(index).padStart(6, '0')}`, [
      `k8s:ns:n${index % 200}`,
      `k8s:pod-label:app:a${index % 3000}`,
      `k8s:sa:s${index}`,
    ]),
  );
  const snapshot = createSnapshot(entries) as EntriesSnapshot;
  const caller = selectors(
    ...Array.from({ length: 22 }, (_, index) => `k8s:pod-label:l${index}:v`),
    'k8s:ns:n7',
    'k8s:sa:s207',
    'k8s:pod-label:app:a207',
  );

  test('a caller with 25 selectors is matched in well under a millisecond', () => {
    assert.ok(medianMs(500, () => snapshot.match(caller)) < 0.5);
    assert.deepEqual(ids(snapshot.match(caller)), ['e000207']);
  });

  test('entries that share their selectors with many are found as fast', () => {
    const alike = createSnapshot(
      Array.from({ length: 100_000 }, (_, index) =>
        entryOf(`e${String(index).padStart(6, '0')}`, [
          `unix:uid:${index % 40}`,
          'unix:gid:0',
          `unix:path:/bin/${index % 3000}`,
        ]),
      ),
    );
    const shell = selectors('unix:uid:7', 'unix:gid:0', 'unix:path:/bin/7', 'unix:user:web');
    assert.ok(medianMs(200, () => alike.match(shell)) < 1);
    assert.ok(alike.match(shell).length > 0);
  });

  test('one change is made in far less than 20 ms, and 10,000 callers learn in that time that it is none of theirs', () => {
    let current = snapshot;
    let round = 0;
    const changed = medianMs(20, () => {
      round += 1;
      const entry = { ...entries[round * 37]!, hint: `h${round}` };
      current = current.with(new Map([[entry.entryId, { entry, source: 'api', revision: 1, createdAt: 0 }]]));
    });
    assert.ok(changed < 20, `${changed} ms`);
    const asked = medianMs(5, () => {
      for (let index = 0; index < 10_000; index += 1) current.concerns(caller);
    });
    assert.ok(asked < 20, `${asked} ms`);
  });
});

function medianMs(rounds: number, work: () => void): number {
  const times = Array.from({ length: rounds }, () => {
    const started = performance.now();
    work();
    return performance.now() - started;
  });
  return times.sort((a, b) => a - b)[Math.floor(rounds / 2)]!;
}

test('entries of the file come first, then those of the API by age: a new entry takes nobody the first place', () => {
  const registered = (entryId: string, source: RegisteredEntry['source'], createdAt: number): RegisteredEntry => ({
    entry: entryOf(entryId, ['unix:uid:1']),
    source,
    createdAt,
    revision: 0,
  });
  const all = [
    registered('-first', 'api', 3000),
    registered('a', 'api', 2000),
    registered('m', 'api', 1000),
    registered('z', 'file', 9000),
    registered('y', 'file', 8000),
  ];
  const changes = new Map(all.map((one) => [one.entry.entryId, one]));
  const snapshot = EntriesSnapshot.empty(() => 10_000).with(changes);
  assert.deepEqual(ids(snapshot.match(selectors('unix:uid:1'))), ['y', 'z', 'm', 'a', '-first']);
});
