import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Watchable } from '../../../src/core/index.ts';
import { rememberMatches } from '../../../src/server/caller-entries.ts';
import type { RegistrationEntry, Selector } from '../../../src/spiffe/index.ts';

const selectors = new Set(['unix:uid:7' as Selector]);

interface Stage {
  now: number;
  /** How often a snapshot was asked. */
  asked: number;
  snapshotOf(entries: readonly Partial<RegistrationEntry>[]): { match: () => readonly RegistrationEntry[] };
}

function createStage(): Stage {
  return {
    now: 1000,
    asked: 0,
    snapshotOf(entries) {
      return {
        match: () => {
          this.asked += 1;
          return (entries as readonly RegistrationEntry[]).filter(({ expiresAt = Infinity }) => this.now < expiresAt);
        },
      };
    },
  };
}

describe('the entries that a caller matches', () => {
  test('are looked for once while nothing changes, for each set of selectors', () => {
    const stage = createStage();
    const remembered = rememberMatches(new Watchable(stage.snapshotOf([{ entryId: 'a' }])), { now: () => stage.now });
    for (stage.now = 1000; stage.now < 2000; stage.now += 100) assert.equal(remembered.match(selectors).length, 1);
    assert.equal(stage.asked, 1);
    remembered.match(new Set(selectors));
    assert.equal(stage.asked, 2);
  });

  test('are looked for again when an entry changes', () => {
    const stage = createStage();
    const entries = new Watchable(stage.snapshotOf([{ entryId: 'a' }]));
    const remembered = rememberMatches(entries, { now: () => stage.now });
    assert.equal(remembered.match(selectors).length, 1);
    entries.set(stage.snapshotOf([]));
    assert.equal(remembered.match(selectors).length, 0);
  });

  test('are no more from the moment that one of them expires, and again when the clock goes back', () => {
    const stage = createStage();
    const entries = new Watchable(stage.snapshotOf([{ entryId: 'a' }, { entryId: 'b', expiresAt: 2000 }]));
    const remembered = rememberMatches(entries, { now: () => stage.now });
    const counts = [1000, 1999, 2000, 3000, 1500].map((now) => {
      stage.now = now;
      return remembered.match(selectors).length;
    });
    assert.deepEqual(counts, [2, 2, 1, 1, 2]);
  });
});
