import { SvidgateError } from '../core/index.ts';
import type { BundleStore, DocumentStore, EntryChange, EntryStore, RevocationStore, StoredEntry } from './datastore.ts';
import type { IssuedTable } from './issued-store.ts';
import { checkedRecord, encodeBundle, readBundle, readRevocation } from './records.ts';
import { chunksOf, entryPages, issuedOf, listBundles, listRevocations, putEntries, putIssued } from './sql-rows.ts';
import type { Transactions } from './transactions.ts';

export function sqlEntries(transactions: Transactions): EntryStore {
  return {
    list: () =>
      transactions.read(async (db) => {
        const entries: StoredEntry[] = [];
        for await (const page of entryPages(db)) entries.push(...page);
        return entries;
      }),
    async apply(changes) {
      if (changes.length === 0) return;
      const last = new Map(changes.map((change) => [entryIdOf(change), change]));
      const deleted = [...last.values()].flatMap((change) => (change.kind === 'delete' ? change.entryId : []));
      const put = [...last.values()].flatMap((change) => (change.kind === 'put' ? change.stored : []));
      await transactions.write(async (db) => {
        for (const ids of chunksOf(deleted)) await db.deleteFrom('entries').where('entry_id', 'in', ids).execute();
        await putEntries(db, put);
      });
    },
  };
}

export function sqlBundles(transactions: Transactions): BundleStore {
  return {
    list: () => transactions.read(listBundles),
    async put(bundle) {
      const text = encodeBundle(bundle);
      checkedRecord(() => readBundle(JSON.parse(text)), bundle, 'bundle');
      await transactions.write(async (db) => {
        const row = { trust_domain: bundle.trustDomain, bundle: text };
        const insert = db.insertInto('bundles').values(row);
        await insert.onConflict((old) => old.column('trust_domain').doUpdateSet({ bundle: text })).execute();
      });
    },
    delete: (trustDomain) =>
      transactions.write(async (db) => {
        await db.deleteFrom('bundles').where('trust_domain', '=', trustDomain).execute();
      }),
  };
}

export function sqlRevocations(transactions: Transactions): RevocationStore {
  return {
    list: () => transactions.read(listRevocations),
    async put(unchecked) {
      const revocation = checkedRecord(readRevocation, unchecked, 'revocation');
      await transactions.write(async (db) => {
        const row = { id: revocation.id, revoked_at: revocation.revokedAt, revocation: JSON.stringify(revocation) };
        const { id: _id, ...rest } = row;
        const insert = db.insertInto('revocations').values(row);
        await insert.onConflict((old) => old.column('id').doUpdateSet(rest)).execute();
      });
    },
    delete: (id) =>
      transactions.write(async (db) => {
        await db.deleteFrom('revocations').where('id', '=', id).execute();
      }),
  };
}

export function sqlDocuments(transactions: Transactions): DocumentStore {
  return {
    read: (name) =>
      transactions.read(async (db) => {
        const row = await db.selectFrom('documents').select('text').where('name', '=', name).executeTakeFirst();
        return row?.text;
      }),
    async write(name, text) {
      // PostgreSQL takes neither, and SQLite would give back something else.
      if (text.includes('\0') || !text.isWellFormed())
        throw new SvidgateError('invalid_request', `document ${name} is no text`);
      await transactions.write(async (db) => {
        const insert = db.insertInto('documents').values({ name, text });
        await insert.onConflict((old) => old.column('name').doUpdateSet({ text })).execute();
      });
    },
  };
}

export function sqlIssued(transactions: Transactions): IssuedTable {
  return {
    write: (svids) => transactions.write((db) => putIssued(db, svids)),
    find: (serial) =>
      transactions.read(async (db) => {
        const row = await db.selectFrom('issued').selectAll().where('serial', '=', serial).executeTakeFirst();
        return row === undefined ? undefined : issuedOf(row);
      }),
    prune: (before) =>
      transactions.write(async (db) => {
        await db.deleteFrom('issued').where('not_after', '<', before).execute();
      }),
  };
}

function entryIdOf(change: EntryChange): string {
  return change.kind === 'put' ? change.stored.entry.entryId : change.entryId;
}
