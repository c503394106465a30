import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { int64ToBigInt, type AdminRequestInit, type AdminRpcName, type Int64 } from '../../../../src/proto/index.ts';
import { parseSelector, parseSpiffeId, parseTrustDomain } from '../../../../src/spiffe/index.ts';
import { createTestAdmin, REGISTRAR, testEntry, UID, type TestAdmin } from './support.ts';

const FIELDS = { entryId: 'e1', spiffeId: 'spiffe://example.test/a', selectors: ['unix:uid:1'] };

function int64AsText(_key: string, value: unknown): unknown {
  const isInt64 = typeof value === 'object' && value !== null && 'unsigned' in value;
  return isInt64 ? int64ToBigInt(value as Int64).toString() : value;
}

describe('entries through the admin API', () => {
  test('are created, shown, changed and deleted, with the caller of the kernel in each line of the audit log', async () => {
    const admin = createTestAdmin();
    const created = await admin.call('createEntry', { entry: { ...FIELDS, x509SvidTtl: { seconds: 90 } } });
    assert.equal(created.fields?.entryId, 'e1');
    assert.equal(created.source, 2);
    const shown = await admin.call('getEntry', { entryId: 'e1' });
    assert.deepEqual(shown, created);
    const changed = await admin.call('updateEntry', {
      entryId: 'e1',
      entry: { x509SvidTtl: { seconds: 60 }, hint: 'not named, so not taken' },
      updateFields: ['x509_svid_ttl'],
      expectedRevision: 0,
    });
    assert.equal(Number(changed.fields?.x509SvidTtl?.seconds), 60);
    assert.equal(changed.fields?.hint, '');
    await admin.call('deleteEntry', { entryId: 'e1' });
    await assert.rejects(admin.call('getEntry', { entryId: 'e1' }), {
      code: 'not_found',
      message: 'not_found: there is no entry e1',
    });
    const about = { role: 'authority', caller: { pid: 4711, uid: UID, gid: UID }, result: 'success' };
    assert.partialDeepStrictEqual(admin.events, [
      { ...about, method: 'EntryAdmin/CreateEntry', entry_id: 'e1', spiffe_id: 'spiffe://example.test/a' },
      { ...about, method: 'EntryAdmin/GetEntry' },
      { ...about, method: 'EntryAdmin/UpdateEntry', entry_id: 'e1' },
      { ...about, method: 'EntryAdmin/DeleteEntry', entry_id: 'e1' },
      { method: 'EntryAdmin/GetEntry', result: 'failure', failure_reason: 'not_found: there is no entry e1' },
    ]);
  });

  test('a change that expected another revision changes nothing', async () => {
    const admin = createTestAdmin();
    await admin.call('createEntry', { entry: FIELDS });
    const late = { entryId: 'e1', entry: {}, updateFields: ['hint'], expectedRevision: 3 };
    await assert.rejects(admin.call('updateEntry', late), { code: 'conflict' });
    assert.equal(admin.entries.get('e1')?.revision, 0);
  });

  test('every field of an entry arrives as it was set', async () => {
    const admin = createTestAdmin();
    const entry = testEntry('full', '/full', {
      parentId: parseSpiffeId('spiffe://example.test/parent'),
      selectors: [parseSelector('a:1'), parseSelector('b:2')],
      x509SvidTtlMs: 90_000,
      jwtSvidTtlMs: 60_000,
      hint: 'h',
      dnsNames: ['a.test', 'b.test'],
      federatesWith: [parseTrustDomain('other.test')],
      expiresAt: Date.UTC(2030, 0, 1),
      jwtSvidIncludeJti: true,
      admin: true,
      downstream: true,
      storeSvid: true,
    });
    admin.entries.set('full', { ...entry, source: 'file', revision: 7 });
    const shown = await admin.call('getEntry', { entryId: 'full' });
    assert.deepEqual(JSON.parse(JSON.stringify(shown, int64AsText)), {
      fields: {
        entryId: 'full',
        spiffeId: 'spiffe://example.test/full',
        parentId: 'spiffe://example.test/parent',
        selectors: ['a:1', 'b:2'],
        x509SvidTtl: { seconds: '90' },
        jwtSvidTtl: { seconds: '60' },
        hint: 'h',
        dnsNames: ['a.test', 'b.test'],
        federatesWith: ['other.test'],
        expiresAt: { seconds: String(Date.UTC(2030, 0, 1) / 1000) },
        jwtSvidIncludeJti: true,
        admin: true,
        downstream: true,
        storeSvid: true,
      },
      source: 1,
      revision: '7',
      createdAt: { seconds: String(Date.UTC(2026, 0, 1) / 1000) },
    });
  });
});

describe('the list of entries', () => {
  function filled(count: number): TestAdmin {
    const admin = createTestAdmin();
    for (let index = count - 1; index >= 0; index -= 1) {
      const id = `e${String(index).padStart(5, '0')}`;
      admin.entries.set(id, testEntry(id, `/w${index}`));
    }
    return admin;
  }

  test('comes in pages, each entry once and in the order of ids', async () => {
    const admin = filled(1205);
    const sizes: number[] = [];
    const ids: (string | undefined)[] = [];
    let pageToken = '';
    do {
      const page = await admin.call('listEntries', { pageToken });
      assert.equal(Number(page.totalCount), 1205);
      sizes.push(page.entries.length);
      ids.push(...page.entries.map(({ fields }) => fields?.entryId));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    assert.deepEqual(sizes, [500, 500, 205]);
    assert.deepEqual(ids, [...admin.entries.keys()].sort());
  });

  test('goes on where it was when entries come and go between two pages', async () => {
    const admin = filled(10);
    const first = await admin.call('listEntries', { pageSize: 4 });
    admin.entries.delete('e00003'); // the last one of the page
    admin.entries.set('a', testEntry('a', '/a'));
    const second = await admin.call('listEntries', { pageSize: 4, pageToken: first.nextPageToken });
    assert.deepEqual(
      second.entries.map(({ fields }) => fields?.entryId),
      ['e00004', 'e00005', 'e00006', 'e00007'],
    );
  });

  test('of large entries has pages that fit into a message', async () => {
    const admin = createTestAdmin();
    const selectors = Array.from({ length: 900 }, (_, index) => parseSelector(`t:${index}${'x'.repeat(4000)}`));
    for (let index = 0; index < 10; index += 1) {
      admin.entries.set(`e${index}`, testEntry(`e${index}`, `/w${index}`, { selectors }));
    }
    const page = await admin.call('listEntries', {});
    assert.equal(page.entries.length, 1);
    assert.notEqual(page.nextPageToken, '');
  });

  const FILTERS: readonly { readonly filter: AdminRequestInit<'listEntries'>; readonly ids: readonly string[] }[] = [
    { filter: {}, ids: ['a', 'b', 'c'] },
    { filter: { spiffeId: 'spiffe://example.test/a' }, ids: ['a'] },
    { filter: { parentId: 'spiffe://example.test/p' }, ids: ['b'] },
    { filter: { selectors: ['unix:uid:1'] }, ids: ['a', 'c'] },
    { filter: { selectors: ['unix:uid:1', 'unix:gid:1'] }, ids: ['c'] },
    { filter: { federatesWith: 'other.test' }, ids: ['c'] },
    { filter: { hint: 'h' }, ids: ['b'] },
    { filter: { source: 1 }, ids: ['a'] },
    { filter: { source: 2 }, ids: ['b', 'c'] },
    { filter: { downstream: true }, ids: ['c'] },
    { filter: { source: 2, hint: 'h', downstream: true }, ids: [] },
  ];
  for (const { filter, ids } of FILTERS) {
    test(`by ${JSON.stringify(filter)} is ${ids.join(', ') || 'empty'}`, async () => {
      const admin = createTestAdmin();
      admin.entries.set('a', { ...testEntry('a', '/a'), source: 'file' });
      const parentId = parseSpiffeId('spiffe://example.test/p');
      admin.entries.set('b', testEntry('b', '/b', { parentId, hint: 'h', selectors: [parseSelector('x:y')] }));
      const selectors = ['unix:gid:1', 'unix:uid:1'].map(parseSelector);
      const federatesWith = [parseTrustDomain('other.test')];
      admin.entries.set('c', testEntry('c', '/c', { selectors, federatesWith, downstream: true }));
      const { entries } = await admin.call('listEntries', filter);
      assert.deepEqual(
        entries.map(({ fields }) => fields?.entryId),
        ids,
      );
    });
  }
});

describe('a registrar', () => {
  const ELSEWHERE = 'spiffe://example.test/team-b/x';
  const OWN = 'spiffe://example.test/team-a/x';
  const selectors = ['unix:uid:1'];

  function withEntries(): TestAdmin {
    const admin = createTestAdmin({ callers: [REGISTRAR] });
    admin.entries.set('own', testEntry('own', '/team-a/own'));
    admin.entries.set('other', testEntry('other', '/team-b/other'));
    admin.entries.set('named', testEntry('named', '/team-a/named', { dnsNames: ['bank.test'] }));
    return admin;
  }

  const REFUSED: readonly { readonly what: string; readonly run: (admin: TestAdmin) => Promise<unknown> }[] = [
    { what: 'an entry of another path', run: (admin) => create(admin, { spiffeId: ELSEWHERE, selectors }) },
    {
      what: 'an entry of another path whose name starts the same',
      run: (admin) => create(admin, { spiffeId: 'spiffe://example.test/team-ab', selectors }),
    },
    { what: 'DNS names', run: (admin) => create(admin, { spiffeId: OWN, selectors, dnsNames: ['bank.test'] }) },
    { what: 'an admin entry', run: (admin) => create(admin, { spiffeId: OWN, selectors, admin: true }) },
    { what: 'a downstream entry', run: (admin) => create(admin, { spiffeId: OWN, selectors, downstream: true }) },
    { what: "a change of another path's entry", run: (admin) => update(admin, 'other', { hint: 'x' }, 'hint') },
    {
      what: 'moving an entry to another path',
      run: (admin) => update(admin, 'own', { spiffeId: ELSEWHERE }, 'spiffe_id'),
    },
    {
      what: 'new selectors for an entry with DNS names',
      run: (admin) => update(admin, 'named', { selectors }, 'selectors'),
    },
    { what: 'adding DNS names', run: (admin) => update(admin, 'own', { dnsNames: ['bank.test'] }, 'dns_names') },
    { what: "deleting another path's entry", run: (admin) => admin.call('deleteEntry', { entryId: 'other' }, by) },
    { what: 'deleting an entry with DNS names', run: (admin) => admin.call('deleteEntry', { entryId: 'named' }, by) },
    {
      what: 'an import with one entry of another path',
      run: (admin) =>
        load(admin, [
          { spiffeId: OWN, selectors },
          { spiffeId: ELSEWHERE, selectors },
        ]),
    },
    {
      what: "an import that takes the id of another path's entry",
      run: (admin) => load(admin, [{ entryId: 'other', spiffeId: OWN, selectors }]),
    },
    {
      what: 'an import that takes the place of an entry with DNS names',
      run: (admin) => load(admin, [{ entryId: 'named', spiffeId: OWN, selectors }]),
    },
  ];
  const by = { uid: REGISTRAR.uid };
  const create = (admin: TestAdmin, entry: AdminRequestInit<'createEntry'>['entry'] & object) =>
    admin.call('createEntry', { entry }, by);
  const update = (admin: TestAdmin, entryId: string, entry: object, field: string) =>
    admin.call('updateEntry', { entryId, entry, updateFields: [field] }, by);
  const load = (admin: TestAdmin, entries: readonly object[]) => admin.call('importEntries', { entries, mode: 2 }, by);

  for (const { what, run } of REFUSED) {
    test(`is refused ${what}`, async () => {
      const admin = withEntries();
      const before = JSON.stringify([...admin.entries]);
      await assert.rejects(run(admin), { code: 'permission_denied' });
      assert.equal(JSON.stringify([...admin.entries]), before);
      assert.partialDeepStrictEqual(admin.events, [{ result: 'failure', role: 'registrar:/team-a' }]);
    });
  }

  test('changes what is below its path, and reads all', async () => {
    const admin = withEntries();
    await create(admin, { entryId: 'new', spiffeId: OWN, selectors });
    await update(admin, 'own', { hint: 'x' }, 'hint');
    await load(admin, [{ entryId: 'own', spiffeId: OWN, selectors }]);
    await admin.call('deleteEntry', { entryId: 'new' }, by);
    const { entries } = await admin.call('listEntries', {}, by);
    assert.deepEqual(
      entries.map(({ fields }) => fields?.entryId),
      ['named', 'other', 'own'],
    );
  });
});

describe('an import', () => {
  test('with mistakes names the first of them by their places, and imports nothing', async () => {
    const mistakes = Array.from(
      { length: 12 },
      (_, index) => ({ index, code: 'conflict', message: `m${index}` }) as const,
    );
    const [first, ...others] = mistakes;
    const nothing = (): never => assert.fail('not asked for');
    const admin = createTestAdmin({
      entries: {
        list: () => [],
        find: () => undefined,
        create: nothing,
        update: nothing,
        delete: nothing,
        import: () => Promise.resolve({ mistakes: [first!, ...others] }),
      },
    });
    await assert.rejects(admin.call('importEntries', { entries: [FIELDS], mode: 1 }), {
      code: 'conflict',
      message: `conflict: ${mistakes
        .slice(0, 10)
        .map(({ index, message }) => `entries[${index}]: ${message}`)
        .join('\n')}\nand 2 more`,
    });
  });
});

describe('a bad request for entries', () => {
  const long = (length: number): string => 'x'.repeat(length);
  const CASES: readonly (readonly [AdminRpcName, object, RegExp])[] = [
    ['listEntries', { pageSize: -1 }, /^invalid_request: page_size: -1 is not from 0 to 1000$/],
    ['listEntries', { pageSize: 1001 }, /page_size: 1001 is not from 0 to 1000/],
    ['listEntries', { pageToken: '%' }, /page_token: expected the next_page_token/],
    ['listEntries', { pageToken: long(5000) }, /page_token/],
    ['listEntries', { pageToken: '_w' }, /page_token/], // decodes to a byte that is not UTF-8
    ['listEntries', { spiffeId: 'http://x' }, /spiffe_id: scheme is missing or invalid/],
    ['listEntries', { spiffeId: `spiffe://example.test/${long(2048)}` }, /spiffe_id: SPIFFE ID is longer than 2048/],
    ['listEntries', { parentId: 'spiffe://' }, /parent_id: trust domain is missing/],
    ['listEntries', { federatesWith: 'UPPER' }, /federates_with: trust domain characters/],
    ['listEntries', { selectors: ['x'] }, /selectors\[0\]: a selector is written type:value/],
    ['listEntries', { selectors: Array.from({ length: 101 }, () => 'a:b') }, /selectors: more than 100/],
    ['listEntries', { source: 3 }, /source: 3 is unknown: expected file, api/],
    ['getEntry', {}, /entry_id: missing: expected an entry id/],
    ['getEntry', { entryId: 'a b' }, /entry_id: expected an entry id/],
    ['getEntry', { entryId: 'a\n' }, /entry_id: expected an entry id/],
    ['getEntry', { entryId: long(256) }, /entry_id: longer than 255/],
    ['createEntry', {}, /entry: missing/],
    ['createEntry', { entry: { ...FIELDS, x509SvidTtl: { seconds: 1e12 } } }, /x509_svid_ttl: .* out of range/],
    ['createEntry', { entry: { ...FIELDS, jwtSvidTtl: { nanos: 1 } } }, /jwt_svid_ttl: expected whole milliseconds/],
    ['createEntry', { entry: { ...FIELDS, expiresAt: { nanos: 2e9 } } }, /expires_at: expected whole milliseconds/],
    ['createEntry', { entry: { ...FIELDS, expiresAt: { nanos: 1e6 } } }, /expires_at: expected whole seconds/],
    ['createEntry', { entry: { ...FIELDS, expiresAt: {} } }, /expires_at: the epoch itself/],
    ['updateEntry', { entryId: 'e', updateFields: ['hint'] }, /entry: missing/],
    ['updateEntry', { entryId: 'e', entry: {} }, /update_fields: missing/],
    ['updateEntry', { entryId: 'e', entry: {}, updateFields: ['nope'] }, /update_fields: "nope" is no field/],
    ['updateEntry', { entryId: 'e', entry: {}, updateFields: ['constructor'] }, /update_fields: "constructor"/],
    ['updateEntry', { entryId: 'e', entry: {}, updateFields: ['entry_id'] }, /update_fields: "entry_id" is no field/],
    ['updateEntry', { entryId: 'e', entry: {}, updateFields: ['hint', 'hint'] }, /update_fields: a field is named tw/],
    ['updateEntry', { entryId: '', entry: {}, updateFields: ['hint'] }, /entry_id: missing/],
    [
      'updateEntry',
      { entryId: 'e', entry: {}, updateFields: ['hint'], expectedRevision: -1 },
      /expected_revision: -1 is not from 0/,
    ],
    ['deleteEntry', { entryId: '../e' }, /entry_id: expected an entry id/],
    ['importEntries', { entries: [FIELDS] }, /mode: missing: expected create, replace/],
    ['importEntries', { entries: [FIELDS], mode: 9 }, /mode: 9 is unknown/],
  ];
  for (const [name, request, message] of CASES) {
    test(`${name} ${JSON.stringify(request).slice(0, 80)}`, async () => {
      const admin = createTestAdmin();
      admin.entries.set('e', testEntry('e', '/e'));
      await assert.rejects(admin.call(name, request), { code: 'invalid_request', message });
      assert.deepEqual([...admin.entries.keys()], ['e']);
      assert.partialDeepStrictEqual(admin.events, [{ event: 'admin_call', result: 'failure' }]);
    });
  }

  test('that is no message, or holds text that is not UTF-8, is refused', async () => {
    const admin = createTestAdmin();
    for (const bytes of [[0xff], [0x0a, 5, 1], [0x0a, 1, 0xff]]) {
      await assert.rejects(admin.callBytes('getEntry', Uint8Array.from(bytes)), { code: 'invalid_request' });
    }
  });
});
