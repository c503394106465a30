import type { Kysely, Transaction } from 'kysely';
import { SvidgateError } from '../core/index.ts';
import type { Tables } from './schema.ts';

export type Db = Transaction<Tables>;

/** One at a time, in the order they were asked for. */
export interface Transactions {
  /** Sees one state of the database throughout. */
  read<T>(work: (db: Db) => Promise<T>): Promise<T>;
  /** All or nothing, on disk when it returns. */
  write<T>(work: (db: Db) => Promise<T>): Promise<T>;
  /** Waits for those that were asked for, and takes no more. */
  close(): Promise<void>;
}

/** Errors are `datastore_failed`, with `label` for the database. */
export function transactionsOver(db: Kysely<Tables>, label: string): Transactions {
  let last: Promise<unknown> = Promise.resolve();
  let isClosed = false;
  const next = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isClosed) throw new SvidgateError('datastore_failed', `${label} is closed`);
    const turn = last.then(() => asDatastoreError(label, work));
    last = turn.catch(() => undefined);
    return await turn;
  };
  return {
    read: (work) =>
      next(() => db.transaction().setAccessMode('read only').setIsolationLevel('repeatable read').execute(work)),
    write: (work) => next(() => db.transaction().execute(work)),
    async close() {
      isClosed = true;
      await last;
    },
  };
}

async function asDatastoreError<T>(label: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SvidgateError) throw error;
    throw new SvidgateError('datastore_failed', `${label} cannot be used`, { cause: error });
  }
}
