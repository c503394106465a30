/**
 * The thread that SQLite runs in: a commit waits for the disk, for milliseconds on a good day and for seconds on a bad
 * one, and no decision of the gate may wait with it.
 */
import { parentPort as port, workerData } from 'node:worker_threads';
import { openSqlite, sqliteCodeOf, type SqliteConnection, type SqliteResult, type SqliteValue } from './sqlite.ts';

/** What the thread is started with. */
export interface SqliteThreadData {
  readonly path: string;
  readonly busyTimeoutMs: number;
}

/** Answered one by one, in order. */
export type SqliteRequest =
  | { readonly kind: 'run'; readonly sql: string; readonly parameters: readonly SqliteValue[] }
  | { readonly kind: 'begin'; readonly isReadOnly: boolean }
  | { readonly kind: 'commit' | 'rollback' | 'close' };

export type SqliteReply =
  | { readonly kind: 'done'; readonly result: SqliteResult }
  | { readonly kind: 'failed'; readonly message: string; readonly code?: number };

const NOTHING: SqliteResult = { rows: [] };

/**
 * WAL and synchronous=FULL: a commit that has returned survives a power cut, and readers see whole transactions. The log
 * is cut back after a large import; the rest is caution towards a file that others may have touched.
 */
const SETTINGS = [
  'PRAGMA synchronous = FULL',
  'PRAGMA journal_size_limit = 16777216',
  'PRAGMA cache_size = -16384',
  'PRAGMA temp_store = MEMORY',
  'PRAGMA trusted_schema = OFF',
  'PRAGMA cell_size_check = ON',
] as const;

function open({ path, busyTimeoutMs }: SqliteThreadData): SqliteConnection {
  const connection = openSqlite(path, busyTimeoutMs);
  const mode = connection.run('PRAGMA journal_mode = WAL').rows[0]?.['journal_mode'];
  if (mode !== 'wal') throw new Error('the file system does not allow a write-ahead log');
  for (const setting of SETTINGS) connection.run(setting);
  return connection;
}

function handle(connection: SqliteConnection, request: SqliteRequest): SqliteResult {
  switch (request.kind) {
    case 'run':
      return connection.run(request.sql, request.parameters);
    case 'begin':
      // One left open by a failed rollback would take what follows into it, and never commit.
      if (connection.isInTransaction) connection.run('ROLLBACK');
      return connection.run(request.isReadOnly ? 'BEGIN' : 'BEGIN IMMEDIATE');
    case 'commit':
      return connection.run('COMMIT');
    case 'rollback':
      // SQLite has done it by itself after some errors, such as a full disk.
      return connection.isInTransaction ? connection.run('ROLLBACK') : NOTHING;
    case 'close':
      connection.close();
      return NOTHING;
  }
}

function answer(work: () => SqliteResult): SqliteReply {
  try {
    return { kind: 'done', result: work() };
  } catch (error) {
    const code = sqliteCodeOf(error);
    const message = error instanceof Error ? error.message : String(error);
    return { kind: 'failed', message, ...(code !== undefined && { code }) };
  }
}

if (port !== null) {
  const parent = port;
  let connection: SqliteConnection | undefined;
  const opened = answer(() => {
    connection = open(workerData as SqliteThreadData);
    return NOTHING;
  });
  parent.postMessage(opened);
  parent.on('message', (request: SqliteRequest) => {
    parent.postMessage(answer(() => (connection === undefined ? NOTHING : handle(connection, request))));
    if (request.kind === 'close') parent.close();
  });
}
