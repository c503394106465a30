import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Kysely } from 'kysely';
import { SvidgateError, type Clock, type Logger } from '../core/index.ts';
import type { DataDirectory } from './data-directory.ts';
import type { Datastore } from './datastore.ts';
import { openPrivateFolder } from './private-folder.ts';
import { migrate, type Tables } from './schema.ts';
import { createSqlDatastore } from './sql-datastore.ts';
import { openSqliteClient } from './sqlite-client.ts';
import { sqliteDialect } from './sqlite-dialect.ts';

export interface SqliteDatastoreOptions {
  readonly directory: DataDirectory;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The datastore in `datastore/svidgate.db` of the data directory. The file is 0600, in a folder of our own with 0700: who
 * could put a write-ahead log beside it would write entries of their own. Throws `file_unreadable` for the folder and
 * `datastore_failed` for the file, each with what to do.
 */
export async function openSqliteDatastore(options: SqliteDatastoreOptions): Promise<Datastore> {
  const { directory, clock, logger } = options;
  const folder = join(directory.path, 'datastore');
  const path = join(folder, 'svidgate.db');
  await openPrivateFolder(folder);
  await makePrivateFile(folder, path);
  const db = new Kysely<Tables>({ dialect: sqliteDialect(await openSqliteClient(path)) });
  try {
    await migrate(db, path);
  } catch (error) {
    await db.destroy();
    if (error instanceof SvidgateError) throw error;
    throw new SvidgateError('datastore_failed', `the schema of ${path} cannot be brought up to date`, { cause: error });
  }
  return createSqlDatastore({ db, label: path, clock, logger });
}

/** SQLite would make it as the umask says, and open one that it may only read. */
async function makePrivateFile(folder: string, path: string): Promise<void> {
  try {
    await using file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    const { mode, size } = await file.stat();
    if ((mode & 0o077) !== 0) await file.chmod(0o600);
    if (size > 0) return;
    await using parent = await open(folder, 'r');
    await parent.sync();
  } catch (error) {
    throw new SvidgateError('datastore_failed', `${path} cannot be opened for writing`, { cause: error });
  }
}
