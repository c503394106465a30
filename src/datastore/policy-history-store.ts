import type { PolicyEventRecord, PolicyHistoryStore } from './datastore.ts';
import { checkedRecord, readPolicyEvent } from './records.ts';
import type { Db, Transactions } from './transactions.ts';

/** Of each policy, refusals and the rest counted apart: a source that is refused all day must not push out what was in force. */
const KEPT_EVENTS = 100;

export function sqlPolicyHistory(transactions: Transactions): PolicyHistoryStore {
  return {
    list: (policy) =>
      transactions.read(async (db) => {
        const query = db.selectFrom('policy_history').select('record').where('policy', '=', policy).orderBy('number');
        return (await query.execute()).flatMap(({ record }) => readOrNothing(record));
      }),
    async append(unchecked) {
      const event = checkedRecord(readPolicyEvent, unchecked, 'event of a policy');
      await transactions.write(async (db) => {
        const { policy, kind } = event;
        const refused = kind === 'refused' ? 1 : 0;
        const rows = { policy, refused, record: JSON.stringify(event), number: (await newest(db, policy)) + 1 };
        await db.insertInto('policy_history').values(rows).execute();
        const stale = db
          .selectFrom('policy_history')
          .select('number')
          .where('policy', '=', policy)
          .where('refused', '=', refused)
          .orderBy('number', 'desc')
          .offset(KEPT_EVENTS)
          .limit(1);
        const limit = (await stale.executeTakeFirst())?.number;
        if (limit === undefined) return;
        const removal = db.deleteFrom('policy_history').where('policy', '=', policy).where('refused', '=', refused);
        await removal.where('number', '<=', limit).execute();
      });
    },
  };
}

/** 0 without any. A number of its own rather than the time: clocks are set back. */
async function newest(db: Db, policy: string): Promise<number> {
  const query = db.selectFrom('policy_history').select('number').where('policy', '=', policy);
  return (await query.orderBy('number', 'desc').limit(1).executeTakeFirst())?.number ?? 0;
}

/** A damaged row is no reason to stop. */
function readOrNothing(text: string): readonly PolicyEventRecord[] {
  try {
    return [readPolicyEvent(JSON.parse(text))];
  } catch {
    return [];
  }
}
