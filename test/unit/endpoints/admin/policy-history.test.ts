import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { timestampToMs } from '../../../../src/proto/index.ts';
import { createTestAdmin } from './support.ts';

describe('the history of policies', () => {
  test('is one list over all policies, newest first, in pages', async () => {
    const admin = createTestAdmin();
    const all = await admin.call('getPolicyHistory', {});
    assert.deepEqual(
      all.events.map(({ policy, kind, at }) => `${policy} ${kind} ${at === null ? '' : timestampToMs(at)}`),
      [
        'candidate refused 3000',
        'candidate activated 2000',
        'candidate refused 1000',
        'default refused 3000',
        'default activated 2000',
        'default refused 1000',
      ],
    );
    const seen: string[] = [];
    let pageToken = '';
    do {
      const page = await admin.call('getPolicyHistory', { pageToken, pageSize: 4 });
      seen.push(...page.events.map(({ policy, kind }) => `${policy} ${kind}`));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    assert.deepEqual(
      seen,
      all.events.map(({ policy, kind }) => `${policy} ${kind}`),
    );
  });

  test('says what refused it and why, and what can come back', async () => {
    const { events } = await createTestAdmin().call('getPolicyHistory', { policy: 'default' });
    assert.deepEqual(
      events.map(({ digest, kept, refusedBy, reason, bundleRevision, signedBy }) => [
        digest,
        kept,
        refusedBy,
        reason,
        bundleRevision,
        signedBy,
      ]),
      [
        ['d2', false, 'tests', '1 of its 2 tests failed', '', ''],
        ['d1', true, '', '', 'r1', 'release'],
        ['', false, 'source', 'it is not there', '', ''],
      ],
    );
  });
});

describe('a rollback', () => {
  test('goes to the state before, or to the one that is named, and is audited with its policy', async () => {
    const admin = createTestAdmin();
    assert.equal((await admin.call('rollBackPolicy', { policy: 'default' })).state, 'active');
    await admin.call('rollBackPolicy', { policy: 'default', digest: 'ABCD12', force: true, reason: 'too open' });
    await admin.call('releasePolicy', { policy: 'default' });
    assert.deepEqual(admin.asked, [
      'roll back default to before, tried, - by 1000',
      'roll back default to abcd12, forced, too open by 1000',
      'release default',
    ]);
    assert.deepEqual(
      admin.events.map((event) => [event.event, event.policy, event.result]),
      Array.from({ length: 3 }, () => ['admin_call', 'default', 'success']),
    );
  });

  const wrong: readonly (readonly [string, object, RegExp])[] = [
    ['no policy', {}, /^invalid_request: policy: missing/],
    ['a short digest', { policy: 'default', digest: 'abc' }, /^invalid_request: digest: expected at least 4 digits/],
    ['a digest of something else', { policy: 'default', digest: 'xyzw' }, /digest: expected/],
    ['a long digest', { policy: 'default', digest: 'a'.repeat(65) }, /digest: longer than 64/],
    ['a reason of two lines', { policy: 'default', reason: 'a\nb' }, /reason: expected a line/],
  ];
  for (const [what, request, message] of wrong) {
    test(`with ${what} is refused`, async () => {
      const admin = createTestAdmin();
      await assert.rejects(admin.call('rollBackPolicy', request), { message });
      assert.deepEqual(admin.asked, []);
    });
  }

  test('without a gate there is none', async () => {
    const admin = createTestAdmin({ policyHistory: undefined as never });
    await assert.rejects(admin.call('rollBackPolicy', { policy: 'default' }), {
      message: /^not_found: there is no gate/,
    });
    await assert.rejects(admin.call('getPolicyHistory', {}), { message: /^not_found/ });
  });
});
