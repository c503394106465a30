import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Datastore, EntryChange, IssuedSvid, StoredEntry } from '../../src/datastore/index.ts';
import type { RegistrationEntry, Revocation, TrustBundle } from '../../src/spiffe/index.ts';
import {
  bundleOf,
  expectedState,
  FULL_BUNDLE,
  FULL_ENTRY,
  issuedOf,
  operations,
  readState,
  revocationOf,
  runOnModel,
  runOnStore,
  shadowCountOf,
  storedEntry,
} from './datastore-fixtures.ts';
import { policyHistoryChecks } from './policy-history-contract.ts';

/** Where datastores of one implementation keep what they keep; empty at first. */
export interface DatastoreBackend extends AsyncDisposable {
  /** Opens it, again after the one before was closed. */
  open(): Promise<Datastore>;
}

const put = (stored: StoredEntry): EntryChange => ({ kind: 'put', stored });
const ids = (entries: readonly StoredEntry[]): readonly string[] => entries.map(({ entry }) => entry.entryId);

/** What every datastore does; see src/datastore/datastore.ts. */
export function datastoreContract(name: string, create: () => Promise<DatastoreBackend>): void {
  const check = (title: string, test: (store: Datastore, backend: DatastoreBackend) => Promise<void>): void => {
    it(title, async () => {
      await using backend = await create();
      const store = await backend.open();
      try {
        await test(store, backend);
      } finally {
        await store.close();
      }
    });
  };

  describe(name, () => {
    check('is empty at first', async (store) => {
      assert.deepEqual(await readState(store), { entries: [], bundles: [], revocations: [] });
      assert.equal(await store.documents.read('journal'), undefined);
      assert.equal(await store.issued.find('1'), undefined);
      await store.bundles.delete(FULL_BUNDLE.trustDomain);
      await store.revocations.delete('nobody');
      await store.issued.prune(1);
      await store.entries.apply([{ kind: 'delete', entryId: 'nobody' }]);
      await store.entries.apply([]);
    });

    entryChecks(check);
    recordChecks(check);
    issuedChecks(check);
    shadowChecks(check);
    policyHistoryChecks(check);
    dumpChecks(check, create);

    check('finds everything again when it is opened anew', async (store, backend) => {
      await store.entries.apply([put(storedEntry(FULL_ENTRY))]);
      await store.bundles.put(FULL_BUNDLE);
      await store.revocations.put(revocationOf('r1', 1));
      await store.documents.write('journal', '{}');
      store.issued.record(issuedOf('1'));
      const before = await readState(store);
      await store.close();
      const again = await backend.open();
      try {
        assert.deepEqual(await readState(again), before);
        assert.equal(await again.documents.read('journal'), '{}');
        assert.deepEqual(await again.issued.find('1'), issuedOf('1'));
      } finally {
        await again.close();
      }
    });

    check('takes part in nothing once it is closed', async (store) => {
      await store.close();
      const failed = { code: 'datastore_failed' };
      await assert.rejects(store.entries.list(), failed);
      await assert.rejects(store.entries.apply([put(storedEntry(FULL_ENTRY))]), failed);
      await assert.rejects(store.documents.write('a', 'b'), failed);
      await assert.rejects(store.issued.find('1'), failed);
      await assert.rejects(store.dump(), failed);
    });

    it('does what a map would, whatever the operations and wherever it is restarted', async () => {
      await fc.assert(
        fc.asyncProperty(operations, async (steps) => {
          await using backend = await create();
          let store = await backend.open();
          try {
            for (const step of steps) {
              if (step.kind === 'restart') {
                await store.close();
                store = await backend.open();
              } else await runOnStore(store, step);
            }
            assert.deepEqual(await readState(store), expectedState(runOnModel(steps)));
          } finally {
            await store.close();
          }
        }),
        { numRuns: 25 },
      );
    });
  });
}

export type Check = (title: string, test: (store: Datastore, backend: DatastoreBackend) => Promise<void>) => void;

function entryChecks(check: Check): void {
  check('gives entries back with every field they have, and no other', async (store) => {
    const bare = storedEntry({ entryId: 'bare', spiffeId: FULL_ENTRY.spiffeId, selectors: FULL_ENTRY.selectors });
    const full = { entry: FULL_ENTRY, revision: 7, createdAt: 1_800_000_000_123 };
    await store.entries.apply([put(full), put(bare)]);
    assert.deepEqual(await store.entries.list(), [bare, full]);
  });

  check('lists entries in the order of the code points of their ids', async (store) => {
    const unsorted = ['b', 'B', 'a', '_', '-', '10', '9', 'a.b', 'a-b', 'aB'];
    await store.entries.apply(unsorted.map((entryId) => put(storedEntry({ ...FULL_ENTRY, entryId }))));
    assert.deepEqual(ids(await store.entries.list()), [...unsorted].sort());
  });

  check('applies the last change of each entry, replacing what was there', async (store) => {
    const [a, b, c] = ['a', 'b', 'c'].map((entryId) => storedEntry({ ...FULL_ENTRY, entryId })) as [
      StoredEntry,
      StoredEntry,
      StoredEntry,
    ];
    await store.entries.apply([put(a), put(b)]);
    const newer = { ...a, revision: 1 };
    await store.entries.apply([put(newer), { kind: 'delete', entryId: 'b' }, put(c), { kind: 'delete', entryId: 'c' }]);
    assert.deepEqual(await store.entries.list(), [newer]);
    await store.entries.apply([{ kind: 'delete', entryId: 'a' }, put(a)]);
    assert.deepEqual(await store.entries.list(), [a]);
  });

  check('changes thousands of entries at once, and lists all of them', async (store) => {
    const all = Array.from({ length: 2345 }, (_, index) =>
      storedEntry({ ...FULL_ENTRY, entryId: `e-${String(index).padStart(5, '0')}` }),
    );
    await store.entries.apply(all.map(put));
    assert.deepEqual(await store.entries.list(), all);
    await store.entries.apply(
      all.filter((_, index) => index % 2 === 0).map(({ entry }) => ({ kind: 'delete', entryId: entry.entryId })),
    );
    assert.deepEqual(
      await store.entries.list(),
      all.filter((_, index) => index % 2 === 1),
    );
  });

  check('changes nothing when one of many entries could not be read back', async (store) => {
    const kept = storedEntry({ ...FULL_ENTRY, entryId: 'kept' });
    await store.entries.apply([put(kept)]);
    const many = Array.from({ length: 500 }, (_, index) => put(storedEntry({ ...FULL_ENTRY, entryId: `e${index}` })));
    for (const bad of [
      { ...storedEntry(FULL_ENTRY), revision: 0.5 },
      storedEntry({ ...FULL_ENTRY, colour: 'blue' } as RegistrationEntry),
      storedEntry({ ...FULL_ENTRY, spiffeId: 'spiffe://' } as unknown as RegistrationEntry),
    ]) {
      const changes: EntryChange[] = [{ kind: 'delete', entryId: 'kept' }, ...many, put(bad)];
      await assert.rejects(store.entries.apply(changes), { code: 'invalid_request' });
    }
    assert.deepEqual(await store.entries.list(), [kept]);
  });

  check('shows a reader all of a change or nothing of it', async (store) => {
    const many = Array.from({ length: 1500 }, (_, index) => put(storedEntry({ ...FULL_ENTRY, entryId: `e${index}` })));
    const counts = await Promise.all([
      store.entries.list(),
      store.entries.apply(many),
      store.entries.list(),
      store.entries.apply(many.map((_, index) => ({ kind: 'delete', entryId: `e${index}` }))),
      store.entries.list(),
    ]);
    assert.deepEqual(
      counts.flatMap((list) => list?.length ?? []),
      [0, 1500, 0],
    );
  });
}

function recordChecks(check: Check): void {
  check('gives bundles back with every field they have, by trust domain', async (store) => {
    const other = bundleOf('other.test', 1);
    await store.bundles.put(other);
    await store.bundles.put(FULL_BUNDLE);
    assert.deepEqual(await store.bundles.list(), [FULL_BUNDLE, other]);
    const newer: TrustBundle = { ...bundleOf('other.test', 2), x509Authorities: [] };
    await store.bundles.put(newer);
    await store.bundles.delete(FULL_BUNDLE.trustDomain);
    assert.deepEqual(await store.bundles.list(), [newer]);
    await assert.rejects(store.bundles.put({ ...newer, sequence: 0.5 }), { code: 'invalid_request' });
    assert.deepEqual(await store.bundles.list(), [newer]);
  });

  check('gives revocations back with every field they have, oldest first', async (store) => {
    const bare: Revocation = { ...revocationOf('a', 30), target: { kind: 'serial', serial: 'ff' } };
    const all = [revocationOf('c', 10), revocationOf('b', 20), bare];
    for (const revocation of all.toReversed()) await store.revocations.put(revocation);
    assert.deepEqual(await store.revocations.list(), all);
    const newer: Revocation = { ...revocationOf('c', 25), reason: 'key_compromise' };
    await store.revocations.put(newer);
    await store.revocations.delete('a');
    await assert.rejects(store.revocations.put({ ...newer, revokedAt: 0.5 }), { code: 'invalid_request' });
    assert.deepEqual(await store.revocations.list(), [revocationOf('b', 20), newer]);
  });

  check('gives documents back to the letter, whatever they say', async (store) => {
    const texts = ['', '{"a":1}', 'käse 🧀 \u{10ffff} \u0001 \r\n \\ \' " ; --', 'x'.repeat(2_000_000)];
    for (const [index, text] of texts.entries()) await store.documents.write(`document ${index}`, text);
    for (const [index, text] of texts.entries()) assert.equal(await store.documents.read(`document ${index}`), text);
    for (const text of ['a\0b', '\ud800']) {
      await assert.rejects(store.documents.write('document 1', text), { code: 'invalid_request' });
    }
    assert.equal(await store.documents.read('document 1'), texts[1]);
  });

  check('does what it is asked in the order of the calls, waited for or not', async (store) => {
    const writes = Array.from({ length: 20 }, (_, index) => store.documents.write('a', String(index)));
    const read = store.documents.read('a');
    const after = store.documents.write('a', 'after');
    assert.equal(await read, '19');
    await Promise.all([...writes, after]);
    assert.equal(await store.documents.read('a'), 'after');
  });
}

function shadowChecks(check: Check): void {
  check(
    'gives counts of shadow policies back, the newest under each id, and restores them from no dump',
    async (store) => {
      assert.deepEqual(await store.shadow.list(), []);
      await store.shadow.apply({});
      const many = Array.from({ length: 300 }, (_, index) => shadowCountOf(String(index).padStart(3, '0')));
      await store.shadow.apply({ put: many });
      assert.deepEqual(await store.shadow.list(), many);
      const newer = { ...many[0]!, count: Number.MAX_SAFE_INTEGER, route: 'käse ? \u0000' };
      const deleted = many.slice(1).map(({ id }) => id);
      await store.shadow.apply({ put: [newer], deleted: [...deleted, newer.id, 'nobody'] });
      assert.deepEqual(await store.shadow.list(), [newer]);
      await assert.rejects(store.shadow.apply({ put: [{ ...newer, count: 0.5 }], deleted: [newer.id] }), {
        code: 'invalid_request',
      });
      assert.deepEqual(await store.shadow.list(), [newer], 'all or nothing');
      await store.load(await store.dump());
      assert.deepEqual(await store.shadow.list(), [newer], 'what was counted is as true as before');
    },
  );
}

function issuedChecks(check: Check): void {
  check('knows whose a serial is, also before it is written', async (store) => {
    const { entryId: _entryId, ...unregistered } = issuedOf('2');
    store.issued.record(issuedOf('1'));
    store.issued.record(unregistered);
    assert.deepEqual(await store.issued.find('1'), issuedOf('1'));
    await store.issued.flush();
    assert.deepEqual(await store.issued.find('1'), issuedOf('1'));
    assert.deepEqual(await store.issued.find('2'), unregistered);
    assert.equal(await store.issued.find('3'), undefined);
    const newer: IssuedSvid = { ...issuedOf('1'), authorityId: 'bb' };
    store.issued.record(newer);
    assert.deepEqual(await store.issued.find('1'), newer);
    await store.issued.flush();
    assert.deepEqual(await store.issued.find('1'), newer);
  });

  check('forgets the serials that ended before a time, written or not', async (store) => {
    for (const [serial, notAfter] of [['1', 99] as const, ['2', 100] as const])
      store.issued.record({ ...issuedOf(serial), notAfter });
    await store.issued.flush();
    for (const [serial, notAfter] of [['3', 99] as const, ['4', 100] as const])
      store.issued.record({ ...issuedOf(serial), notAfter });
    await store.issued.prune(100);
    await store.issued.flush();
    const found = await Promise.all(['1', '2', '3', '4'].map((serial) => store.issued.find(serial)));
    assert.deepEqual(
      found.map((svid) => svid?.serial),
      [undefined, '2', undefined, '4'],
    );
  });
}

function dumpChecks(check: Check, create: () => Promise<DatastoreBackend>): void {
  check('loads what another one has dumped, replacing what it had', async (store) => {
    await using source = await create();
    const from = await source.open();
    try {
      await from.entries.apply([put(storedEntry(FULL_ENTRY))]);
      await from.bundles.put(FULL_BUNDLE);
      await from.revocations.put(revocationOf('r1', 1));
      await from.documents.write('journal', '"\n\u{1f9c0}"');
      from.issued.record(issuedOf('1'));
      await store.entries.apply([put(storedEntry({ ...FULL_ENTRY, entryId: 'gone' }))]);
      await store.bundles.put(bundleOf('gone.test', 1));
      await store.documents.write('gone', '');
      const dump = await from.dump();
      await store.load(dump);
      assert.deepEqual(await readState(store), await readState(from));
      assert.equal(await store.documents.read('journal'), '"\n\u{1f9c0}"');
      assert.equal(await store.documents.read('gone'), undefined);
      assert.deepEqual(await store.issued.find('1'), issuedOf('1'));
      assert.equal(await store.dump(), dump);
    } finally {
      await from.close();
    }
  });

  check('keeps newer revocations and issued SVIDs when a backup is loaded', async (store) => {
    const changed: Revocation = { ...revocationOf('both', 5), reason: 'key_compromise' };
    await store.revocations.put(revocationOf('both', 5));
    await store.revocations.put(revocationOf('undone', 6));
    const dump = await store.dump();
    await store.revocations.put(changed);
    await store.revocations.delete('undone');
    await store.revocations.put(revocationOf('newer', 9));
    store.issued.record(issuedOf('newer'));
    await store.load(dump);
    assert.deepEqual(await store.revocations.list(), [changed, revocationOf('undone', 6), revocationOf('newer', 9)]);
    assert.deepEqual(await store.issued.find('newer'), issuedOf('newer'));
  });

  check('dumps no issued SVID that has ended', async (store) => {
    store.issued.record(issuedOf('living'));
    store.issued.record({ ...issuedOf('ended'), notAfter: 1_000_000_000_000 });
    const { issued } = JSON.parse(await store.dump()) as { readonly issued: readonly { readonly serial: string }[] };
    assert.deepEqual(
      issued.map(({ serial }) => serial),
      ['living'],
    );
  });

  check('asks what is to become of a document that is in the dump and here', async (store) => {
    for (const name of ['both', 'gone']) await store.documents.write(name, 'old');
    const dump = await store.dump();
    await store.documents.write('both', 'new');
    await store.documents.write('since', 'new');
    await store.load(dump, (name, { restored, present }) => `${name}: ${restored} and ${present}`);
    assert.equal(await store.documents.read('both'), 'both: old and new');
    assert.equal(await store.documents.read('gone'), 'gone: old and old');
    assert.equal(await store.documents.read('since'), undefined);
  });

  check('changes nothing when what it should load is no whole dump', async (store) => {
    await store.entries.apply([put(storedEntry(FULL_ENTRY))]);
    await store.revocations.put(revocationOf('r1', 1));
    const dump = await store.dump();
    const parsed = JSON.parse(dump) as Record<string, unknown[]>;
    const changed = (fields: object): string => JSON.stringify({ ...parsed, ...fields });
    for (const [what, text] of Object.entries({
      empty: '',
      null: 'null',
      'a list': '[]',
      'something else': '{"keys":[]}',
      cut: dump.slice(0, -10),
      'of a newer svidgate': changed({ format: 2 }),
      'without a table': changed({ documents: undefined }),
      'with an unknown table': changed({ agents: [] }),
      'with a table that is no list': changed({ entries: {} }),
      'with an entry of unknown fields': changed({ entries: [{ ...storedEntry(FULL_ENTRY), color: 1 }] }),
      'with an entry twice': changed({ entries: [...(parsed['entries'] ?? []), ...(parsed['entries'] ?? [])] }),
      'with a wrong SPIFFE ID': dump.replace('spiffe://', 'spiffe:///'),
      'with a wrong bundle': changed({ bundles: [{ trustDomain: 'a' }] }),
      'with a wrong revocation': changed({ revocations: [{ ...revocationOf('a', 1), reason: 'mood' }] }),
    })) {
      await assert.rejects(store.load(text), { code: 'invalid_request' }, what);
    }
    assert.equal(await store.dump(), dump);
  });
}
