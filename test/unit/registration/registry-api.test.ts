import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { EntryDraft } from '../../../src/registration/index.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { createScene, memoryStore, namesOf } from './scene.ts';

const by = { pid: 7, uid: 0, gid: 0, executable: '/usr/bin/svidgate', method: 'CreateEntry' };
const caller = { pid: 7, uid: 0, gid: 0, executable: '/usr/bin/svidgate' };

function draftOf(name: string, fields: EntryDraft = {}): EntryDraft {
  return { entry_id: name, spiffe_id: `spiffe://td.test/${name}`, selectors: ['unix:uid:1'], ...fields };
}

const FILE = `entries:
  - { entry_id: filed, spiffe_id: spiffe://td.test/filed, selectors: ["unix:uid:9"] }
`;

describe('entries of the API', () => {
  test('a created entry is audited, stored and in force, in this order', async () => {
    const { registry, store, clock, events, lines } = createScene();
    await registry.load();
    const created = await registry.create(draftOf('a', { x509_svid_ttl: 60 }), by);
    const entry = {
      entryId: 'a',
      spiffeId: 'spiffe://td.test/a',
      selectors: ['unix:uid:1'],
      x509SvidTtlMs: 60_000,
    };
    assert.deepEqual(created, { entry, source: 'api', revision: 0, createdAt: clock.now() });
    assert.deepEqual(registry.find('a'), created);
    assert.deepEqual(registry.list(), [created]);
    assert.deepEqual([...store.rows.values()], [{ entry, revision: 0, createdAt: clock.now() }]);
    assert.deepEqual(namesOf(registry, 'unix:uid:1'), ['a']);
    assert.equal(registry.status.value.entryCount, 1);
    assert.deepEqual(events, [
      {
        event: 'entry_changed',
        change: 'created',
        entry_id: 'a',
        spiffe_id: 'spiffe://td.test/a',
        method: 'CreateEntry',
        caller,
        result: 'success',
      },
    ]);
    assert.deepEqual(lines, [
      { level: 'info', message: 'entry created', fields: { entry_id: 'a', spiffe_id: 'spiffe://td.test/a' } },
    ]);
  });

  test('an entry without an id gets a random one', async () => {
    const { registry } = createScene();
    const { entry } = await registry.create(draftOf('a', { entry_id: '' }), by);
    assert.match(entry.entryId, /^[0-9a-f-]{36}$/);
  });

  test('what is there already is refused, and the other one is named', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, FILE);
    const { registry, store, events } = createScene({ file });
    await registry.load();
    await registry.create(draftOf('a'), by);
    for (const [draft, message] of [
      [draftOf('a', { spiffe_id: 'spiffe://td.test/b' }), 'entry a of the API has the same id'],
      [draftOf('a', { entry_id: 'b' }), 'entry a of the API has the same SPIFFE ID, parent and selectors'],
      [
        draftOf('a', { entry_id: 'b', parent_id: 'spiffe://td.test/spire/server' }),
        'entry a of the API has the same SPIFFE ID, parent and selectors',
      ],
      [draftOf('filed'), 'entry filed of the entries file has the same id'],
      [
        draftOf('filed', { entry_id: '', selectors: ['unix:uid:9', 'unix:uid:9'] }),
        'entry filed of the entries file has the same SPIFFE ID, parent and selectors',
      ],
    ] as const) {
      await assert.rejects(registry.create(draft, by), { code: 'already_exists', message });
    }
    await registry.create(draftOf('a', { entry_id: 'c', parent_id: 'spiffe://td.test/spire/agent/x' }), by);
    assert.equal(store.rows.size, 2);
    assert.equal(events.length, 2);
  });

  test('a draft with mistakes is refused with all of them', async () => {
    const { registry, store, events } = createScene();
    const wrong = draftOf('a', { hint: 'a\nb', x509_svid_ttl: -1 });
    await assert.rejects(registry.create(wrong, by), {
      code: 'invalid_request',
      message:
        '`x509_svid_ttl` is the number -1: expected a duration from 1s to 87600h, such as 1h30m; ' +
        '`hint` is "a\\nb": a hint has no control characters',
    });
    assert.deepEqual([store.rows.size, events.length, registry.list().length], [0, 0, 0]);
  });

  test('an update replaces what it names, clears what is empty and keeps the rest', async () => {
    const { registry, store, clock, events } = createScene();
    const { createdAt } = await registry.create(draftOf('a', { hint: 'h', x509_svid_ttl: 60, admin: true }), by);
    await clock.advance(5000);
    const updated = await registry.update('a', { set: { hint: '', x509_svid_ttl: '2m' }, expectedRevision: 0 }, by);
    assert.deepEqual(updated, {
      entry: {
        entryId: 'a',
        spiffeId: 'spiffe://td.test/a',
        selectors: ['unix:uid:1'],
        x509SvidTtlMs: 120_000,
        admin: true,
      },
      source: 'api',
      revision: 1,
      createdAt,
    });
    assert.deepEqual(store.rows.get('a')?.revision, 1);
    assert.deepEqual(
      events.map((event) => 'change' in event && event.change),
      ['created', 'updated'],
    );
    await registry.update('a', { set: { selectors: ['unix:uid:2'] } }, by);
    assert.deepEqual(namesOf(registry, 'unix:uid:1'), []);
    assert.deepEqual(namesOf(registry, 'unix:uid:2'), ['a']);
    await registry.create(draftOf('a', { entry_id: 'b' }), by);
    await assert.rejects(registry.update('b', { set: { selectors: ['unix:uid:2'] } }, by), {
      code: 'already_exists',
      message: 'entry a of the API has the same SPIFFE ID, parent and selectors',
    });
  });

  test('an update that changes nothing leaves no trace', async () => {
    const { registry, store, events } = createScene();
    const before = await registry.create(draftOf('a'), by);
    const snapshot = registry.snapshot.value;
    assert.equal(await registry.update('a', { set: { hint: '', selectors: ['unix:uid:1'] } }, by), before);
    assert.equal(registry.snapshot.value, snapshot);
    assert.deepEqual([store.writes.length, events.length], [1, 1]);
  });

  test('what cannot be changed is refused with the reason', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, FILE);
    const { registry, store } = createScene({ file });
    await registry.load();
    await registry.create(draftOf('a'), by);
    const set = { hint: 'h' };
    const ofFile = { code: 'conflict', message: 'entry filed is of the entries file: change it there' };
    const unknown = { code: 'not_found', message: 'there is no entry "none"' };
    await assert.rejects(registry.update('filed', { set }, by), ofFile);
    await assert.rejects(registry.delete('filed', by), ofFile);
    await assert.rejects(registry.update('none', { set }, by), unknown);
    await assert.rejects(registry.delete('none', by), unknown);
    await assert.rejects(registry.delete('x'.repeat(1000), by), {
      code: 'not_found',
      message: `there is no entry "${'x'.repeat(64)}…"`,
    });
    await assert.rejects(registry.update('a', { set, expectedRevision: 3 }, by), {
      code: 'conflict',
      message: 'entry a has revision 0, not 3',
    });
    await assert.rejects(registry.update('a', { set: { entry_id: 'b' } }, by), {
      code: 'invalid_request',
      message: 'the `entry_id` of an entry never changes',
    });
    assert.equal(store.writes.length, 1);
  });

  test('a deleted entry is gone from the store and from matching, and may come again', async () => {
    const { registry, store } = createScene();
    const created = await registry.create(draftOf('a'), by);
    assert.deepEqual(await registry.delete('a', by), created);
    assert.deepEqual([store.rows.size, namesOf(registry, 'unix:uid:1').length], [0, 0]);
    assert.equal(registry.snapshot.value.hasSpiffeId(parseSpiffeId('spiffe://td.test/a')), false);
    await registry.create(draftOf('a'), by);
  });

  test('when the store or the audit log fails, nothing has changed', async () => {
    const { registry, store, audit, events } = createScene();
    const before = await registry.create(draftOf('a'), by);
    const attempts = [
      () => registry.create(draftOf('b'), by),
      () => registry.update('a', { set: { hint: 'h' } }, by),
      () => registry.delete('a', by),
      () => registry.import([draftOf('b')], by, { mode: 'create' }),
    ];
    store.failing = true;
    for (const attempt of attempts) await assert.rejects(attempt(), { code: 'datastore_failed' });
    store.failing = false;
    assert.deepEqual(
      events.slice(1).map((event) => [event.result, event.failure_reason]),
      attempts.flatMap(() => [
        ['success', undefined],
        ['failure', 'datastore_failed: the disk is full'],
      ]),
    );
    audit.failing = true;
    for (const attempt of attempts) await assert.rejects(attempt(), { code: 'audit_failed' });
    audit.failing = false;
    assert.deepEqual([registry.list(), store.writes.length], [[before], 1]);
    await registry.create(draftOf('b'), by);
  });

  test('changes at the same time happen one after the other', async () => {
    const { registry, store } = createScene();
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => registry.create(draftOf('a', { hint: `h${index}` }), by)),
    );
    assert.deepEqual(results.map(({ status }) => status).filter((status) => status === 'fulfilled').length, 1);
    await Promise.all(
      Array.from({ length: 20 }, (_, index) => registry.update('a', { set: { hint: `u${index}` } }, by)),
    );
    assert.equal(registry.find('a')?.revision, 20);
    assert.deepEqual(store.rows.get('a')?.entry, registry.find('a')?.entry);
    assert.equal(registry.find('a')?.entry.hint, 'u19');
  });

  test('the author is asked about the old and the new version of each entry', async () => {
    const { registry } = createScene();
    await registry.create(draftOf('theirs'), by);
    await registry.create(draftOf('mine'), by);
    const author = { ...by, mayChange: ({ spiffeId }: { readonly spiffeId: string }) => spiffeId.endsWith('mine') };
    const denied = {
      code: 'permission_denied',
      message: 'the caller may not change entry theirs, which gives spiffe://td.test/theirs',
    };
    await registry.update('mine', { set: { hint: 'h' } }, author);
    await assert.rejects(registry.update('theirs', { set: { hint: 'h' } }, author), denied);
    await assert.rejects(
      registry.update('theirs', { set: { spiffe_id: 'spiffe://td.test/not-mine' } }, author),
      denied,
    );
    await assert.rejects(registry.update('mine', { set: { spiffe_id: 'spiffe://td.test/x' } }, author), {
      code: 'permission_denied',
      message: 'the caller may not change entry mine, which gives spiffe://td.test/x',
    });
    await assert.rejects(registry.delete('theirs', author), denied);
    await assert.rejects(registry.import([draftOf('theirs', { hint: 'h' })], author, { mode: 'replace' }), denied);
    assert.deepEqual(
      registry.list().map(({ revision }) => revision),
      [1, 0],
    );
  });

  test('federation with a domain that has no bundle is refused, and an entry that has it already may change', async () => {
    const { registry, foreign } = createScene();
    await registry.create(draftOf('a', { federates_with: ['partner.test'] }), by);
    const refused = {
      code: 'invalid_request',
      message: '`federates_with` names other.test: set the bundle of that domain first',
    };
    await assert.rejects(registry.create(draftOf('b', { federates_with: ['other.test'] }), by), refused);
    foreign.set(new Set());
    await registry.update('a', { set: { hint: 'h' } }, by);
    const set = { federates_with: ['partner.test', 'other.test'] };
    await assert.rejects(registry.update('a', { set }, by), refused);
  });

  test('parents in a circle are refused', async () => {
    const { registry } = createScene();
    await registry.create(draftOf('a', { parent_id: 'spiffe://td.test/b' }), by);
    await registry.create(draftOf('b', { parent_id: 'spiffe://td.test/c' }), by);
    const circle = {
      code: 'invalid_request',
      message: '`parent_id` leads back to the entry itself: parents form no circle',
    };
    await assert.rejects(registry.create(draftOf('c', { parent_id: 'spiffe://td.test/a' }), by), circle);
    await registry.create(draftOf('c'), by);
    await assert.rejects(registry.update('c', { set: { parent_id: 'spiffe://td.test/a' } }, by), circle);
    await registry.update('a', { set: { parent_id: '' } }, by);
    await registry.update('c', { set: { parent_id: 'spiffe://td.test/a' } }, by);
  });
});

describe('the import of entries', () => {
  test('all drafts or none, with the mistakes of each', async () => {
    const { registry, store, events } = createScene();
    await registry.create(draftOf('a'), by);
    const drafts = [
      draftOf('b'),
      draftOf('a'),
      draftOf('c', { hint: 'a\nb' }),
      draftOf('b', { spiffe_id: 'spiffe://td.test/d' }),
      draftOf('e', { parent_id: 'spiffe://td.test/f' }),
      draftOf('f', { parent_id: 'spiffe://td.test/e' }),
      draftOf('g', { federates_with: ['other.test'] }),
    ];
    const { mistakes } = await registry.import(drafts, by, { mode: 'create' });
    const circle = '`parent_id` leads back to the entry itself: parents form no circle';
    assert.deepEqual(mistakes, [
      { index: 1, code: 'already_exists', message: 'entry a of the API has the same SPIFFE ID, parent and selectors' },
      { index: 2, code: 'invalid_request', message: '`hint` is "a\\nb": a hint has no control characters' },
      { index: 3, code: 'already_exists', message: 'entries 0 and 3 are both b' },
      { index: 4, code: 'invalid_request', message: circle },
      { index: 5, code: 'invalid_request', message: circle },
      {
        index: 6,
        code: 'invalid_request',
        message: '`federates_with` names other.test: set the bundle of that domain first',
      },
    ]);
    assert.deepEqual([store.writes.length, events.length], [1, 1]);
    const { entries } = await registry.import([draftOf('c'), draftOf('b')], by, { mode: 'create' });
    assert.deepEqual(
      entries?.map(({ entry }) => entry.entryId),
      ['c', 'b'],
    );
    assert.deepEqual([store.writes.length, events.length], [2, 3]);
  });

  test('replacing changes what differs, by id or by content, and leaves the rest', async () => {
    const { registry, store } = createScene();
    const a = await registry.create(draftOf('a'), by);
    await registry.create(draftOf('b'), by);
    const unnamed = draftOf('c', { entry_id: '' });
    const c = await registry.create(unnamed, by);
    const drafts = [draftOf('a'), draftOf('b', { hint: 'h' }), { ...unnamed, hint: 'h' }, draftOf('d')];
    const { entries } = await registry.import(drafts, by, { mode: 'replace' });
    assert.equal(entries?.[0], a);
    assert.deepEqual(
      entries.map(({ entry, revision }) => [entry.entryId, entry.hint, revision]),
      [
        ['a', undefined, 0],
        ['b', 'h', 1],
        [c.entry.entryId, 'h', 1],
        ['d', undefined, 0],
      ],
    );
    assert.equal(store.writes.at(-1)?.length, 3);
    const again = await registry.import(drafts, by, { mode: 'replace' });
    assert.deepEqual(again.entries, entries);
    assert.equal(store.writes.length, 4, 'the same again writes nothing');
  });

  test('entries may swap their contents', async () => {
    const { registry } = createScene();
    await registry.create(draftOf('a'), by);
    await registry.create(draftOf('b'), by);
    const swapped = [draftOf('a', { entry_id: 'b' }), draftOf('b', { entry_id: 'a' })];
    const { entries } = await registry.import(swapped, by, { mode: 'replace' });
    assert.equal(entries?.length, 2);
    assert.equal(registry.find('a')?.entry.spiffeId, 'spiffe://td.test/b');
    await assert.rejects(registry.create(draftOf('a', { entry_id: 'c' }), by), { code: 'already_exists' });
  });

  test('the file is never touched', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, FILE);
    const { registry } = createScene({ file });
    await registry.load();
    const drafts = [draftOf('filed'), draftOf('filed', { entry_id: '', selectors: ['unix:uid:9'] })];
    const { mistakes } = await registry.import(drafts, by, { mode: 'replace' });
    assert.deepEqual(mistakes, [
      { index: 0, code: 'conflict', message: 'entry filed is of the entries file: change it there' },
      {
        index: 1,
        code: 'already_exists',
        message: 'entry filed of the entries file has the same SPIFFE ID, parent and selectors',
      },
    ]);
  });
});

describe('what is stored', () => {
  test('is in force again after a restart', async () => {
    const { registry, store } = createScene();
    await registry.create(draftOf('a', { hint: 'h' }), by);
    await registry.update('a', { set: { hint: 'i' } }, by);
    const again = createScene({ store: memoryStore([...store.rows.values()]) });
    await again.registry.load();
    assert.deepEqual(again.registry.list(), registry.list());
    assert.deepEqual(again.events, []);
    await assert.rejects(again.registry.create(draftOf('a', { entry_id: 'b' }), by), { code: 'already_exists' });
  });

  test('is kept but not in force when it is of another trust domain', async () => {
    const { registry, store } = createScene();
    const { entry } = await registry.create(draftOf('a'), by);
    const foreign = { ...entry, entryId: 'x', spiffeId: parseSpiffeId('spiffe://other.test/a') };
    const rows = [...store.rows.values(), { entry: foreign, revision: 0, createdAt: 0 }];
    const again = createScene({ store: memoryStore(rows) });
    await again.registry.load();
    assert.deepEqual(namesOf(again.registry, 'unix:uid:1'), ['a']);
    assert.equal(again.store.rows.size, 2);
    assert.deepEqual(again.lines, [
      {
        level: 'warn',
        message: 'stored entry is not in force',
        fields: { entry_id: 'x', spiffe_id: 'spiffe://other.test/a', reason: 'of another trust domain' },
      },
    ]);
  });

  test('a store that cannot be read stops the start', async () => {
    const { registry, store } = createScene();
    store.failing = true;
    await assert.rejects(registry.load(), { code: 'datastore_failed' });
  });
});
