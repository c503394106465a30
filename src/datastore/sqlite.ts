import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';

/** What SQLite takes as a parameter. */
export type SqliteValue = string | number | bigint | null | Uint8Array;

export interface SqliteResult {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** Rows inserted, updated or deleted; absent for a query. */
  readonly changes?: number;
}

/** One connection to a database file. Every call holds its thread until SQLite has answered. */
export interface SqliteConnection {
  readonly isInTransaction: boolean;
  run(sql: string, parameters?: readonly SqliteValue[]): SqliteResult;
  close(): void;
}

/** The primary result codes that are told apart (https://www.sqlite.org/rescode.html). */
export const SQLITE_BUSY = 5;
export const SQLITE_READONLY = 8;
export const SQLITE_CORRUPT = 11;
export const SQLITE_FULL = 13;
export const SQLITE_NOTADB = 26;

/** Of prepared statements: the datastore has some thirty, and preparing one takes about as long as a small query. */
const MAX_STATEMENTS = 64;

/** Opens the file, or makes it. Waits up to `busyTimeoutMs` for another program that holds it. */
export function openSqlite(path: string, busyTimeoutMs: number): SqliteConnection {
  const database = new DatabaseSync(path, {
    timeout: busyTimeoutMs,
    enableForeignKeyConstraints: true,
    enableDoubleQuotedStringLiterals: false,
    defensive: true,
  });
  const statements = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const known = statements.get(sql);
    if (known !== undefined) return known;
    const statement = database.prepare(sql);
    if (statements.size >= MAX_STATEMENTS) statements.clear();
    statements.set(sql, statement);
    return statement;
  };
  return {
    get isInTransaction() {
      return database.isTransaction;
    },
    run(sql, parameters = []) {
      const statement = prepare(sql);
      const values = parameters as SQLInputValue[];
      if (statement.columns().length > 0) return { rows: statement.all(...values) };
      return { rows: [], changes: Number(statement.run(...values).changes) };
    },
    close: () => database.close(),
  };
}

/** The primary result code of what SQLite threw, or undefined when it was not SQLite. */
export function sqliteCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return error.errcode & 0xff;
}
