import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { entriesInCircles } from '../../../src/registration/parent-circles.ts';
import { parseSelector, parseSpiffeId, type RegistrationEntry, type SpiffeId } from '../../../src/spiffe/index.ts';

const selectors = [parseSelector('unix:uid:1')];
const idOf = (name: string): SpiffeId => parseSpiffeId(`spiffe://td.test/${name}`);

function entryOf(edge: string, entryId = edge): RegistrationEntry {
  const [name = '', parent = ''] = edge.split('>');
  return { entryId, spiffeId: idOf(name), selectors, ...(parent === '' ? {} : { parentId: idOf(parent) }) };
}

function circlesIn(entries: readonly RegistrationEntry[]): readonly string[] {
  const giving = Map.groupBy(entries, ({ spiffeId }) => spiffeId);
  return entriesInCircles(entries, (id) => giving.get(id) ?? []).map(({ entryId }) => entryId);
}

test('an entry is in a circle when its ancestors lead back to it', () => {
  for (const [edges, circles] of [
    [[], []],
    [['a', 'b>a', 'c>b'], []],
    [['a>none'], []],
    [['a>a'], ['a>a']],
    [
      ['a>b', 'b>a'],
      ['a>b', 'b>a'],
    ],
    [
      ['a>b', 'b>c', 'c>a', 'd>a', 'c>e'],
      ['a>b', 'b>c', 'c>a'],
    ],
    // Two parents of one ID, of which one leads back.
    [
      ['a>b', 'b>c', 'b>a'],
      ['a>b', 'b>a'],
    ],
    [
      ['a>b', 'b>a', 'c>d', 'd>c', 'a>c'],
      ['a>b', 'b>a', 'c>d', 'd>c'],
    ],
  ] as const) {
    assert.deepEqual(circlesIn(edges.map((edge) => entryOf(edge))), circles, edges.join(' '));
  }
});

test('the search agrees with following every ancestor', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const edges = fc.uniqueArray(fc.tuple(name, name).map(([child, parent]) => `${child}>${parent}`));
  fc.assert(
    fc.property(edges, (all) => {
      const entries = all.map((edge) => entryOf(edge));
      const leadsTo = (from: SpiffeId, to: SpiffeId, seen: ReadonlySet<SpiffeId>): boolean =>
        from === to ||
        (!seen.has(from) &&
          entries.some(
            ({ spiffeId, parentId }) =>
              spiffeId === from && parentId !== undefined && leadsTo(parentId, to, new Set([...seen, from])),
          ));
      const expected = entries.filter(({ spiffeId, parentId }) => leadsTo(parentId!, spiffeId, new Set()));
      assert.deepEqual(
        circlesIn(entries),
        expected.map(({ entryId }) => entryId),
      );
    }),
    { numRuns: 500 },
  );
});

test('100,000 ancestors in a row are followed without a deep stack', () => {
  const entries = Array.from({ length: 100_000 }, (_, index) => entryOf(`n${index}>n${index + 1}`));
  assert.deepEqual(circlesIn(entries), []);
  assert.equal(circlesIn([...entries, entryOf('n100000>n0')]).length, 100_001);
});
