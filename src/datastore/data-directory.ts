import { readFileSync } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SvidgateError, writeFileAtomic } from '../core/index.ts';
import { openSqlite, SQLITE_BUSY, sqliteCodeOf, type SqliteConnection } from './sqlite.ts';

/** The server's own folder, held by this process alone until it is closed. */
export interface DataDirectory {
  readonly path: string;
  /** Gives the folder free. Its content stays. */
  close(): Promise<void>;
}

/**
 * Opens the folder, makes it when it is missing (mode 0700) and takes its lock. The lock is SQLite's on `lock.db`: the
 * kernel drops it when the process ends, however it ends. Throws `already_running` with the holder's pid, or
 * `file_unreadable`.
 */
export async function openDataDirectory(path: string): Promise<DataDirectory> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    if (!(await stat(path)).isDirectory()) throw new Error('not a folder');
  } catch (error) {
    throw new SvidgateError('file_unreadable', `data_dir ${path} cannot be used`, { cause: error });
  }
  const pidFile = join(path, 'svidgate.pid');
  const lock = takeLock(path, pidFile);
  try {
    await writeFileAtomic(pidFile, `${process.pid}\n`, 0o600);
  } catch (error) {
    lock.close();
    throw new SvidgateError('file_unreadable', `data_dir ${path} cannot be written`, { cause: error });
  }
  return {
    path,
    async close() {
      await rm(pidFile, { force: true });
      lock.close();
    },
  };
}

function takeLock(path: string, pidFile: string): SqliteConnection {
  let database: SqliteConnection | undefined;
  try {
    database = openSqlite(join(path, 'lock.db'), 0);
    database.run('PRAGMA journal_mode = DELETE');
    database.run('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database?.close();
    if (sqliteCodeOf(error) === SQLITE_BUSY) {
      throw new SvidgateError('already_running', `data_dir ${path} is in use by another svidgate${holder(pidFile)}`);
    }
    throw new SvidgateError('file_unreadable', `data_dir ${path} cannot be locked`, { cause: error });
  }
}

function holder(pidFile: string): string {
  try {
    return ` (process ${Number.parseInt(readFileSync(pidFile, 'utf8'), 10)})`;
  } catch {
    return '';
  }
}
