import type { ShadowCount, ShadowStore } from './datastore.ts';
import { checkedRecord, readShadowCount } from './records.ts';
import { chunksOf, shadowPages } from './sql-rows.ts';
import type { Transactions } from './transactions.ts';

export function sqlShadow(transactions: Transactions): ShadowStore {
  return {
    list: () =>
      transactions.read(async (db) => {
        const counts: ShadowCount[] = [];
        for await (const page of shadowPages(db)) counts.push(...page.flatMap(readOrNothing));
        return counts;
      }),
    async apply({ put = [], deleted = [] }) {
      if (put.length + deleted.length === 0) return;
      const counts = put.map((count) => checkedRecord(readShadowCount, count, 'shadow count'));
      await transactions.write(async (db) => {
        for (const ids of chunksOf(deleted)) await db.deleteFrom('shadow_counts').where('id', 'in', ids).execute();
        for (const chunk of chunksOf(counts)) {
          const rows = chunk.map((count) => ({ id: count.id, record: JSON.stringify(count) }));
          const insert = db.insertInto('shadow_counts').values(rows);
          await insert
            .onConflict((old) => old.column('id').doUpdateSet((row) => ({ record: row.ref('excluded.record') })))
            .execute();
        }
      });
    },
  };
}

/** Evidence only: a damaged row is no reason to stop. */
function readOrNothing(text: string): readonly ShadowCount[] {
  try {
    return [readShadowCount(JSON.parse(text))];
  } catch {
    return [];
  }
}
