import type { Kysely } from 'kysely';
import type { Clock, Logger } from '../core/index.ts';
import type { Datastore } from './datastore.ts';
import { readDump, writeDump } from './dump.ts';
import { createWriteBehind } from './issued-store.ts';
import { sqlPolicyHistory } from './policy-history-store.ts';
import type { Tables } from './schema.ts';
import { sqlShadow } from './shadow-store.ts';
import { sqlBundles, sqlDocuments, sqlEntries, sqlIssued, sqlRevocations } from './sql-tables.ts';
import { transactionsOver } from './transactions.ts';

export interface SqlDatastoreOptions {
  /** Migrated. Closing the datastore destroys it. */
  readonly db: Kysely<Tables>;
  /** What messages call the database, such as its path. */
  readonly label: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The datastore over any database that kysely speaks to. */
export function createSqlDatastore(options: SqlDatastoreOptions): Datastore {
  const { db, clock, logger } = options;
  const transactions = transactionsOver(options.db, options.label);
  const issued = createWriteBehind({ table: sqlIssued(transactions), clock, logger });
  return {
    entries: sqlEntries(transactions),
    bundles: sqlBundles(transactions),
    revocations: sqlRevocations(transactions),
    documents: sqlDocuments(transactions),
    issued,
    shadow: sqlShadow(transactions),
    policyHistory: sqlPolicyHistory(transactions),
    async dump() {
      await issued.flush();
      return await transactions.read((db) => writeDump(db, clock.now()));
    },
    async load(dump, merge) {
      const restore = await readDump(dump, merge);
      await issued.flush();
      await transactions.write(restore);
    },
    async close() {
      await issued.close();
      await transactions.close();
      await db.destroy();
    },
  };
}
