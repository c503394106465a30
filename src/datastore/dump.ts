import { setImmediate as othersTurn } from 'node:timers/promises';
import { SvidgateError } from '../core/index.ts';
import type { Revocation, TrustBundle } from '../spiffe/index.ts';
import type { DocumentMerge } from './datastore.ts';
import { listOf, objectOf, oneOf, readText, type Reader } from './read-json.ts';
import { encodeBundle, readBundle, readStoredEntry, readIssued, readRevocation } from './records.ts';
import { chunksOf, entryPages, issuedPages, listBundles, listRevocations, putEntries, putIssued } from './sql-rows.ts';
import type { Db } from './transactions.ts';

const KIND = 'svidgate-datastore';
/** Grows when an older svidgate could not understand what is written. */
const FORMAT = 1;

interface StoredDocument {
  readonly name: string;
  readonly text: string;
}

interface Dump {
  readonly kind: typeof KIND;
  readonly format: typeof FORMAT;
  readonly entries: readonly unknown[];
  readonly bundles: readonly unknown[];
  readonly revocations: readonly unknown[];
  readonly documents: readonly unknown[];
  readonly issued: readonly unknown[];
}

/**
 * All tables as one JSON text, without issued SVIDs that have ended: there are far more of these than of all else. 100,000
 * entries give some 30 MB, page by page. Every record is read on the way, so that a damaged one fails the backup and not its
 * restore.
 */
export async function writeDump(db: Db, now: number): Promise<string> {
  const entries: string[] = [];
  for await (const page of entryPages(db)) entries.push(joined(page));
  const documents = await db.selectFrom('documents').selectAll().orderBy('name').execute();
  const issued: string[] = [];
  for await (const page of issuedPages(db, now)) issued.push(joined(page));
  const tables: Readonly<Record<Exclude<keyof Dump, 'kind' | 'format'>, readonly string[]>> = {
    entries,
    bundles: (await listBundles(db)).map(encodeBundle),
    revocations: (await listRevocations(db)).map((revocation) => JSON.stringify(revocation)),
    documents: documents.map((document) => JSON.stringify(document)),
    issued,
  };
  const lists = Object.entries(tables).map(([name, rows]) => `"${name}":[${rows.join(',')}]`);
  return `{"kind":"${KIND}","format":${FORMAT},${lists.join(',')}}`;
}

/** In pieces of a page: joining 100,000 texts at the end would hold the event loop for long. */
function joined(records: readonly object[]): string {
  return records.map((record) => JSON.stringify(record)).join(',');
}

/**
 * Checks a dump as a whole and gives what puts it in place. Throws `invalid_request`. Parsing the text holds the event
 * loop, for some 100 ms with 100,000 entries.
 */
export async function readDump(text: string, merge?: DocumentMerge): Promise<(db: Db) => Promise<void>> {
  const dump = parseDump(text);
  const entries = await readAll('entry', dump.entries, readStoredEntry);
  const bundles = await readAll('bundle', dump.bundles, readBundle);
  const revocations = await readAll('revocation', dump.revocations, readRevocation);
  const documents = await readAll('document', dump.documents, readDocument);
  const issued = await readAll('issued SVID', dump.issued, readIssued);
  refuseTwins('entry', entries, ({ entry }) => entry.entryId);
  refuseTwins('bundle', bundles, ({ trustDomain }) => trustDomain);
  refuseTwins('revocation', revocations, ({ id }) => id);
  refuseTwins('document', documents, ({ name }) => name);
  refuseTwins('issued SVID', issued, ({ serial }) => serial);
  return async (db) => {
    const merged = await mergeDocuments(db, documents, merge);
    for (const table of ['entries', 'bundles', 'documents'] as const) await db.deleteFrom(table).execute();
    await putEntries(db, entries);
    await insertBundles(db, bundles);
    await insertDocuments(db, merged);
    await addRevocations(db, revocations);
    await putIssued(db, issued);
  };
}

async function insertBundles(db: Db, bundles: readonly TrustBundle[]): Promise<void> {
  for (const chunk of chunksOf(bundles)) {
    const rows = chunk.map((bundle) => ({ trust_domain: bundle.trustDomain, bundle: encodeBundle(bundle) }));
    await db.insertInto('bundles').values(rows).execute();
  }
}

async function mergeDocuments(
  db: Db,
  documents: readonly StoredDocument[],
  merge: DocumentMerge = (_name, { restored }) => restored,
): Promise<readonly StoredDocument[]> {
  const rows = await db.selectFrom('documents').selectAll().execute();
  const here = new Map(rows.map(({ name, text }) => [name, text]));
  return documents.map(({ name, text }) => {
    const present = here.get(name);
    return { name, text: present === undefined ? text : merge(name, { restored: text, present }) };
  });
}

async function insertDocuments(db: Db, documents: readonly StoredDocument[]): Promise<void> {
  for (const chunk of chunksOf(documents)) await db.insertInto('documents').values(chunk).execute();
}

/** Those that are here stay as they are: a backup is older than they are, or the same. */
async function addRevocations(db: Db, revocations: readonly Revocation[]): Promise<void> {
  for (const chunk of chunksOf(revocations)) {
    const rows = chunk.map((revocation) => ({
      id: revocation.id,
      revoked_at: revocation.revokedAt,
      revocation: JSON.stringify(revocation),
    }));
    const insert = db.insertInto('revocations').values(rows);
    await insert.onConflict((old) => old.column('id').doNothing()).execute();
  }
}

const readDocument: Reader<StoredDocument> = objectOf<StoredDocument>({ name: readText, text: readText }, []);

const readTables = objectOf<Dump>(
  {
    kind: oneOf([KIND]),
    format: () => FORMAT,
    entries: listOf((value) => value),
    bundles: listOf((value) => value),
    revocations: listOf((value) => value),
    documents: listOf((value) => value),
    issued: listOf((value) => value),
  },
  [],
);

function parseDump(text: string): Dump {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid('this is no dump of a datastore', error);
  }
  const { kind, format } = (typeof value === 'object' && value !== null ? value : {}) as Partial<Dump>;
  if (kind !== KIND || !Number.isSafeInteger(format)) throw invalid('this is no dump of a datastore');
  if (format !== FORMAT) throw invalid(`the dump has format ${format}, and this svidgate reads ${FORMAT}`);
  try {
    return readTables(value);
  } catch (error) {
    throw invalid('the dump is damaged', error);
  }
}

/** Of reading: about 2 ms, then it is the turn of others. */
const READ_AT_ONCE = 250;

async function readAll<T>(what: string, values: readonly unknown[], reader: Reader<T>): Promise<readonly T[]> {
  const records: T[] = [];
  for (const [index, value] of values.entries()) {
    if (index % READ_AT_ONCE === READ_AT_ONCE - 1) await othersTurn();
    try {
      records.push(reader(value));
    } catch (error) {
      throw invalid(`${what} ${index + 1} of the dump is damaged`, error);
    }
  }
  return records;
}

function refuseTwins<T>(what: string, records: readonly T[], keyOf: (record: T) => string): void {
  const keys = new Set(records.map(keyOf));
  if (keys.size < records.length) throw invalid(`the dump has the same ${what} twice`);
}

function invalid(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('invalid_request', message, { cause });
}
