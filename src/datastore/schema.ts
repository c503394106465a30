import type { Kysely } from 'kysely';
import { Migrator, type Migration } from 'kysely/migration';
import { SvidgateError } from '../core/index.ts';

/** The tables, as the newest migration leaves them. Times are epoch milliseconds; records are JSON (see records.ts). */
export interface Tables {
  readonly entries: {
    readonly entry_id: string;
    readonly revision: number;
    readonly created_at: number;
    readonly entry: string;
  };
  readonly bundles: { readonly trust_domain: string; readonly bundle: string };
  readonly revocations: { readonly id: string; readonly revoked_at: number; readonly revocation: string };
  readonly documents: { readonly name: string; readonly text: string };
  readonly issued: {
    readonly serial: string;
    readonly spiffe_id: string;
    readonly entry_id: string | null;
    readonly authority_id: string;
    readonly not_after: number;
  };
  readonly shadow_counts: { readonly id: string; readonly record: string };
  /** `number` counts up within a policy; `refused` is 0 or 1. */
  readonly policy_history: {
    readonly policy: string;
    readonly number: number;
    readonly refused: number;
    readonly record: string;
  };
}

/**
 * In the order of their names, which never change; one that was released is never edited. Only types and statements that
 * SQLite and PostgreSQL share.
 */
const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001_first': {
    async up(db) {
      await db.schema
        .createTable('entries')
        .addColumn('entry_id', 'text', (column) => column.primaryKey())
        .addColumn('revision', 'bigint', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('entry', 'text', (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('bundles')
        .addColumn('trust_domain', 'text', (column) => column.primaryKey())
        .addColumn('bundle', 'text', (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('revocations')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('revoked_at', 'bigint', (column) => column.notNull())
        .addColumn('revocation', 'text', (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('documents')
        .addColumn('name', 'text', (column) => column.primaryKey())
        .addColumn('text', 'text', (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('issued')
        .addColumn('serial', 'text', (column) => column.primaryKey())
        .addColumn('spiffe_id', 'text', (column) => column.notNull())
        .addColumn('entry_id', 'text')
        .addColumn('authority_id', 'text', (column) => column.notNull())
        .addColumn('not_after', 'bigint', (column) => column.notNull())
        .execute();
      await db.schema.createIndex('issued_not_after').on('issued').column('not_after').execute();
    },
  },
  '0002_shadow_counts': {
    async up(db) {
      await db.schema
        .createTable('shadow_counts')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('record', 'text', (column) => column.notNull())
        .execute();
    },
  },
  '0003_policy_history': {
    async up(db) {
      await db.schema
        .createTable('policy_history')
        .addColumn('policy', 'text', (column) => column.notNull())
        .addColumn('number', 'bigint', (column) => column.notNull())
        .addColumn('refused', 'bigint', (column) => column.notNull())
        .addColumn('record', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('policy_history_key', ['policy', 'number'])
        .execute();
    },
  },
};

const MIGRATION_TABLE = 'svidgate_migrations';

/**
 * Brings the schema up to date, all of it or nothing. Throws `datastore_failed` when a newer svidgate has been there:
 * `label` is what the message calls the database.
 */
export async function migrate(db: Kysely<Tables>, label: string): Promise<void> {
  await refuseNewer(db, label);
  const migrator = new Migrator({
    db,
    provider: { getMigrations: () => Promise.resolve(MIGRATIONS) },
    migrationTableName: MIGRATION_TABLE,
    migrationLockTableName: `${MIGRATION_TABLE}_lock`,
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}

async function refuseNewer(db: Kysely<Tables>, label: string): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some(({ name }) => name === MIGRATION_TABLE)) return;
  const anyTable = db as unknown as Kysely<Record<typeof MIGRATION_TABLE, { readonly name: string }>>;
  const rows = await anyTable.selectFrom(MIGRATION_TABLE).select('name').orderBy('name').execute();
  const unknown = rows.find(({ name }) => !Object.hasOwn(MIGRATIONS, name));
  if (unknown === undefined) return;
  throw new SvidgateError(
    'datastore_failed',
    `${label} has the schema ${unknown.name} of a newer svidgate: run that one, or move the file away and restore a backup`,
  );
}
