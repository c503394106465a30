import { SvidgateError } from '../core/index.ts';
import type { Revocation, TrustBundle } from '../spiffe/index.ts';
import type { IssuedSvid, StoredEntry } from './datastore.ts';
import type { Reader } from './read-json.ts';
import { checkedRecord, readBundle, readIssued, readRevocation, readStoredEntry } from './records.ts';
import type { Tables } from './schema.ts';
import type { Db } from './transactions.ts';

/** Of a page of reading: making records of it holds the event loop for about 2 ms, and other work comes between pages. */
const PAGE_ROWS = 250;
/** Of one statement: kysely builds it in 0.3 ms, and its parameters stay far below any database's limit. */
const STATEMENT_ROWS = 100;

/** Pages in the order of entry ids. */
export async function* entryPages(db: Db): AsyncGenerator<readonly StoredEntry[]> {
  let last: string | undefined;
  do {
    let query = db.selectFrom('entries').selectAll().orderBy('entry_id').limit(PAGE_ROWS);
    if (last !== undefined) query = query.where('entry_id', '>', last);
    const rows = await query.execute();
    if (rows.length > 0) yield rows.map(storedEntryOf);
    last = rows.length < PAGE_ROWS ? undefined : rows.at(-1)?.entry_id;
  } while (last !== undefined);
}

/** Pages of those that end later than `after`, in the order of serials. */
export async function* issuedPages(db: Db, after: number): AsyncGenerator<readonly IssuedSvid[]> {
  let last: string | undefined;
  do {
    let query = db.selectFrom('issued').selectAll().where('not_after', '>', after).orderBy('serial').limit(PAGE_ROWS);
    if (last !== undefined) query = query.where('serial', '>', last);
    const rows = await query.execute();
    if (rows.length > 0) yield rows.map(issuedOf);
    last = rows.length < PAGE_ROWS ? undefined : rows.at(-1)?.serial;
  } while (last !== undefined);
}

/** Pages of their texts, in the order of ids. */
export async function* shadowPages(db: Db): AsyncGenerator<readonly string[]> {
  let last: string | undefined;
  do {
    let query = db.selectFrom('shadow_counts').selectAll().orderBy('id').limit(PAGE_ROWS);
    if (last !== undefined) query = query.where('id', '>', last);
    const rows = await query.execute();
    if (rows.length > 0) yield rows.map(({ record }) => record);
    last = rows.length < PAGE_ROWS ? undefined : rows.at(-1)?.id;
  } while (last !== undefined);
}

export async function listBundles(db: Db): Promise<readonly TrustBundle[]> {
  const rows = await db.selectFrom('bundles').selectAll().orderBy('trust_domain').execute();
  return rows.map((row) => fromJson(readBundle, row.bundle, `bundle of ${row.trust_domain}`));
}

/** Oldest first. */
export async function listRevocations(db: Db): Promise<readonly Revocation[]> {
  const rows = await db.selectFrom('revocations').selectAll().orderBy('revoked_at').orderBy('id').execute();
  return rows.map((row) => fromJson(readRevocation, row.revocation, `revocation ${row.id}`));
}

/** Ids are not repeated within the list. Throws `invalid_request` for an entry that could not be read back. */
export async function putEntries(db: Db, entries: readonly StoredEntry[]): Promise<void> {
  for (const chunk of chunksOf(entries)) {
    const checked = chunk.map((stored) => checkedRecord(readStoredEntry, stored, 'entry'));
    const rows = checked.map(({ entry, revision, createdAt }) => ({
      entry_id: entry.entryId,
      revision,
      created_at: createdAt,
      entry: JSON.stringify(entry),
    }));
    const insert = db.insertInto('entries').values(rows);
    await insert
      .onConflict((old) =>
        old.column('entry_id').doUpdateSet((row) => ({
          revision: row.ref('excluded.revision'),
          created_at: row.ref('excluded.created_at'),
          entry: row.ref('excluded.entry'),
        })),
      )
      .execute();
  }
}

/** Serials are not repeated within the list. */
export async function putIssued(db: Db, svids: readonly IssuedSvid[]): Promise<void> {
  for (const chunk of chunksOf(svids)) {
    const rows = chunk.map((svid) => ({
      serial: svid.serial,
      spiffe_id: svid.spiffeId,
      entry_id: svid.entryId ?? null,
      authority_id: svid.authorityId,
      not_after: Math.trunc(svid.notAfter),
    }));
    const insert = db.insertInto('issued').values(rows);
    await insert
      .onConflict((old) =>
        old.column('serial').doUpdateSet((row) => ({
          spiffe_id: row.ref('excluded.spiffe_id'),
          entry_id: row.ref('excluded.entry_id'),
          authority_id: row.ref('excluded.authority_id'),
          not_after: row.ref('excluded.not_after'),
        })),
      )
      .execute();
  }
}

export function* chunksOf<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += STATEMENT_ROWS) yield items.slice(start, start + STATEMENT_ROWS);
}

function storedEntryOf(row: Tables['entries']): StoredEntry {
  return damagedUnless(`entry ${row.entry_id}`, () =>
    readStoredEntry({ entry: JSON.parse(row.entry), revision: row.revision, createdAt: row.created_at }),
  );
}

export function issuedOf(row: Tables['issued']): IssuedSvid {
  return damagedUnless(`record of serial ${row.serial}`, () =>
    readIssued({
      serial: row.serial,
      spiffeId: row.spiffe_id,
      ...(row.entry_id !== null && { entryId: row.entry_id }),
      authorityId: row.authority_id,
      notAfter: row.not_after,
    }),
  );
}

function fromJson<T>(reader: Reader<T>, text: string, what: string): T {
  return damagedUnless(what, () => reader(JSON.parse(text)));
}

function damagedUnless<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const message = `the ${what} is damaged: stop svidgate and restore a backup with \`svidgate restore\``;
    throw new SvidgateError('datastore_failed', message, { cause: error });
  }
}
