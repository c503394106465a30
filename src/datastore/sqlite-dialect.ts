import {
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
} from 'kysely';
import type { SqliteClient } from './sqlite-client.ts';
import type { SqliteValue } from './sqlite.ts';

/** kysely's SQLite over the client. kysely lets one transaction in at a time; destroying it closes the client. */
export function sqliteDialect(client: SqliteClient): Dialect {
  return {
    createAdapter: () => new TransactionalSqliteAdapter(),
    createDriver: () => new SqliteClientDriver(client),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

/** SQLite rolls schema changes back too, so a migration that is interrupted has not happened. */
class TransactionalSqliteAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

class SqliteClientDriver implements Driver {
  readonly #client: SqliteClient;
  readonly #connection: DatabaseConnection;

  constructor(client: SqliteClient) {
    this.#client = client;
    this.#connection = connectionOver(client);
  }

  async init(): Promise<void> {
    // The client is open.
  }

  acquireConnection(): Promise<DatabaseConnection> {
    return Promise.resolve(this.#connection);
  }

  async beginTransaction(_connection: DatabaseConnection, settings: { readonly accessMode?: string }): Promise<void> {
    await this.#client.send({ kind: 'begin', isReadOnly: settings.accessMode === 'read only' });
  }

  async commitTransaction(): Promise<void> {
    await this.#client.send({ kind: 'commit' });
  }

  async rollbackTransaction(): Promise<void> {
    await this.#client.send({ kind: 'rollback' });
  }

  async releaseConnection(): Promise<void> {
    // There is one, and it stays.
  }

  async destroy(): Promise<void> {
    await this.#client.close();
  }
}

function connectionOver(client: SqliteClient): DatabaseConnection {
  return {
    async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
      const request = { kind: 'run', sql, parameters: parameters as readonly SqliteValue[] } as const;
      const { rows, changes } = await client.send(request);
      return { rows: rows as R[], ...(changes !== undefined && { numAffectedRows: BigInt(changes) }) };
    },
    // oxlint-disable-next-line require-yield -- what kysely's interface asks for; nothing here streams
    async *streamQuery() {
      throw new TypeError('the SQLite thread does not stream');
    },
  };
}
