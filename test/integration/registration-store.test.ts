import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { openDataDirectory, openSqliteDatastore, type EntryStore } from '../../src/datastore/index.ts';
import { createRegistry, type EntryDraft, type Registry } from '../../src/registration/index.ts';
import { parseSelector, parseTrustDomain } from '../../src/spiffe/index.ts';
import { tempFolder } from '../support/temp-folder.ts';

const by = { uid: 0 };
const caller = new Set([parseSelector('unix:uid:1')]);

function draftOf(name: string, fields: EntryDraft = {}): EntryDraft {
  return { entry_id: name, spiffe_id: `spiffe://td.test/${name}`, selectors: ['unix:uid:1'], ...fields };
}

/** A registry on the SQLite file of the folder, until `during` is done. */
async function withRegistry(
  folder: string,
  during: (registry: Registry, store: EntryStore, close: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const directory = await openDataDirectory(join(folder, 'data'));
  try {
    const datastore = await openSqliteDatastore({ directory, clock: systemClock, logger: silentLogger });
    let isOpen = true;
    const close = async (): Promise<void> => {
      if (isOpen) await datastore.close();
      isOpen = false;
    };
    try {
      const registry = createRegistry({
        store: datastore.entries,
        trustDomain: parseTrustDomain('td.test'),
        clock: systemClock,
        logger: silentLogger,
        metrics: noMetrics,
      });
      await registry.load();
      await during(registry, datastore.entries, close);
    } finally {
      await close();
    }
  } finally {
    await directory.close();
  }
}

describe('the registry on SQLite', { timeout: 120_000 }, () => {
  test('entries with every field survive a restart as they were', async () => {
    await using folder = await tempFolder();
    let before: unknown;
    await withRegistry(folder.path, async (registry) => {
      await registry.create(
        draftOf('full', {
          parent_id: 'spiffe://td.test/spire/agent/x',
          selectors: ['unix:uid:1', 'unix:path:/usr/bin/x'],
          x509_svid_ttl: '30m',
          jwt_svid_ttl: '1m',
          hint: 'für innen',
          dns_names: ['b.td.test', '*.a.td.test'],
          federates_with: ['b.test', 'a.test'],
          expires_at: '2999-01-01T00:00:00Z',
          jwt_svid_include_jti: true,
          admin: true,
          downstream: true,
          store_svid: true,
        }),
        by,
      );
      await registry.import([draftOf('a'), draftOf('b'), draftOf('c')], by, { mode: 'create' });
      await registry.update('a', { set: { hint: 'h' }, expectedRevision: 0 }, by);
      await registry.delete('b', by);
      before = registry.list();
    });
    await withRegistry(folder.path, async (registry) => {
      assert.deepEqual(registry.list(), before);
      const again = [draftOf('a', { hint: 'h' }), draftOf('c')];
      const { entries } = await registry.import(again, by, { mode: 'replace' });
      assert.deepEqual(
        entries?.map(({ revision }) => revision),
        [1, 0],
        'what comes from the store is equal to what was given',
      );
      await assert.rejects(registry.create(draftOf('c', { entry_id: 'd' }), by), { code: 'already_exists' });
    });
  });

  test('with the datastore away, changes fail and what is in force stays', async () => {
    await using folder = await tempFolder();
    await withRegistry(folder.path, async (registry, _, close) => {
      await registry.create(draftOf('a'), by);
      const snapshot = registry.snapshot.value;
      await close();
      await assert.rejects(registry.create(draftOf('b'), by), { code: 'datastore_failed' });
      await assert.rejects(registry.update('a', { set: { hint: 'h' } }, by), { code: 'datastore_failed' });
      await assert.rejects(registry.delete('a', by), { code: 'datastore_failed' });
      assert.equal(registry.snapshot.value, snapshot);
      assert.equal(snapshot.match(caller).length, 1);
    });
  });

  test('20,000 entries are imported in one step that holds nobody up for long, and one change among them is quick', async () => {
    await using folder = await tempFolder();
    await withRegistry(folder.path, async (registry, store) => {
      const drafts = Array.from({ length: 20_000 }, (_, index) =>
        draftOf(`w${index}`, { selectors: [`unix:uid:${index}`] }),
      );
      const longest = await longestPause(() => registry.import(drafts, by, { mode: 'create' }));
      assert.ok(longest < 500, `held up for ${longest} ms`);
      assert.equal((await store.list()).length, 20_000);
      const times: number[] = [];
      for (let round = 0; round < 9; round += 1) {
        const started = performance.now();
        await registry.update(`w${round}`, { set: { hint: `h${round}` } }, by);
        times.push(performance.now() - started);
      }
      assert.ok(times.sort((a, b) => a - b)[4]! < 100, times.join(' '));
    });
  });
});

/** The longest time in milliseconds that a timer of 5 ms had to wait. */
async function longestPause(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return Math.max(longest, performance.now() - last);
}
