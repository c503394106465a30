import assert from 'node:assert/strict';
import type { Check } from './datastore-contract.ts';

/** Part of the datastore's contract. */
export function policyHistoryChecks(check: Check): void {
  check('gives the history of a policy back in order, and of another one nothing', async (store) => {
    assert.deepEqual(await store.policyHistory.list('default'), []);
    const full = {
      policy: 'default',
      kind: 'rolled_back',
      at: 2,
      source: './policies',
      entrypoint: 'envoy/authz/allow',
      by: 'uid:0',
      digest: 'd1',
      revision: 'r1',
      signedBy: 'release',
      gate: 'replay',
      reason: 'käse',
      heldFrom: ['d2'],
      forced: true,
    } as const;
    const least = { policy: 'default', kind: 'activated', at: 1, source: '', entrypoint: '', by: '' } as const;
    await store.policyHistory.append(full);
    await store.policyHistory.append(least); // the clock was set back
    assert.deepEqual(await store.policyHistory.list('default'), [full, least]);
    assert.deepEqual(await store.policyHistory.list('other'), []);
    await assert.rejects(store.policyHistory.append({ ...least, at: 0.5 }), { code: 'invalid_request' });
    await store.load(await store.dump());
    assert.deepEqual(await store.policyHistory.list('default'), [full, least], 'a backup changes nothing of it');
  });

  check('keeps the newest of a history, whatever was refused since', async (store) => {
    const event = { source: '', entrypoint: '', by: '' } as const;
    for (let at = 0; at < 130; at += 1) {
      await store.policyHistory.append({ ...event, policy: 'default', kind: 'activated', at });
      await store.policyHistory.append({ ...event, policy: 'default', kind: 'refused', at });
      await store.policyHistory.append({ ...event, policy: 'other', kind: 'refused', at });
    }
    const kept = await store.policyHistory.list('default');
    for (const kind of ['activated', 'refused']) {
      const times = kept.filter((each) => each.kind === kind).map(({ at }) => at);
      assert.deepEqual(
        times,
        Array.from({ length: 100 }, (_, index) => index + 30),
      );
    }
    assert.equal((await store.policyHistory.list('other')).length, 100);
  });
}
