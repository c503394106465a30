import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { authorize } from '../../../../src/endpoints/admin/access.ts';
import { NEEDS, type AdminCaller } from '../../../../src/endpoints/admin/index.ts';
import { ADMIN_RPCS, encodeMessage, svidgate, type AdminRpcName } from '../../../../src/proto/index.ts';
import { ALL_CALLERS, AUTHORITY, createTestAdmin, POLICY, REGISTRAR, testEntry, VIEWER } from './support.ts';

const v1 = svidgate.admin.v1;
const TEAM_A = 'spiffe://example.test/team-a/x';
const FIELDS = { entryId: 'e', spiffeId: TEAM_A, selectors: ['unix:uid:1'] };

/** A request that each method takes when its caller may make it. */
const GOOD: Readonly<Record<AdminRpcName, Uint8Array>> = {
  listEntries: new Uint8Array(),
  getEntry: encodeMessage(v1.GetEntryRequest, { entryId: 'old' }),
  createEntry: encodeMessage(v1.CreateEntryRequest, { entry: FIELDS }),
  updateEntry: encodeMessage(v1.UpdateEntryRequest, { entryId: 'old', entry: {}, updateFields: ['hint'] }),
  deleteEntry: encodeMessage(v1.DeleteEntryRequest, { entryId: 'old' }),
  importEntries: encodeMessage(v1.ImportEntriesRequest, { entries: [FIELDS], mode: 1 }),
  listAuthorities: new Uint8Array(),
  prepareAuthority: encodeMessage(v1.PrepareAuthorityRequest, { kind: 1 }),
  activateAuthority: encodeMessage(v1.AuthorityRequest, { kind: 1, authorityId: 'ab' }),
  taintAuthority: encodeMessage(v1.AuthorityRequest, { kind: 2, authorityId: 'ab' }),
  revokeAuthority: encodeMessage(v1.AuthorityRequest, { kind: 1, authorityId: 'ab' }),
  listBundles: new Uint8Array(),
  getBundle: encodeMessage(v1.GetBundleRequest, { format: 2 }),
  setBundle: encodeMessage(v1.SetBundleRequest, { trustDomain: 'other.test', document: '{"keys":[]}' }),
  deleteBundle: encodeMessage(v1.DeleteBundleRequest, { trustDomain: 'other.test' }),
  listRevocations: new Uint8Array(),
  revoke: encodeMessage(v1.RevokeRequest, { spiffeId: TEAM_A, reason: 1 }),
  undoRevocation: encodeMessage(v1.UndoRevocationRequest, { revocationId: 'r0' }),
  getStatus: new Uint8Array(),
  watchStatus: new Uint8Array(),
  explainAttestation: encodeMessage(v1.ExplainAttestationRequest, { pid: 1 }),
  getShadowReport: new Uint8Array(),
  clearShadowReport: encodeMessage(v1.ClearShadowReportRequest, { policy: 'candidate' }),
  getPolicyHistory: encodeMessage(v1.GetPolicyHistoryRequest, { policy: 'default' }),
  rollBackPolicy: encodeMessage(v1.RollBackPolicyRequest, { policy: 'default' }),
  releasePolicy: encodeMessage(v1.ReleasePolicyRequest, { policy: 'default' }),
  backup: encodeMessage(v1.BackupRequest, { passphrase: 'long enough for it' }),
};

const READS: readonly AdminRpcName[] = [
  'listEntries',
  'getEntry',
  'listAuthorities',
  'listBundles',
  'getBundle',
  'listRevocations',
  'getStatus',
  'watchStatus',
  'explainAttestation',
  'getShadowReport',
  'getPolicyHistory',
];
const ENTRY_CHANGES: readonly AdminRpcName[] = ['createEntry', 'updateEntry', 'deleteEntry', 'importEntries'];
const ALL = Object.keys(ADMIN_RPCS) as AdminRpcName[];

const MAY: readonly { readonly caller: AdminCaller; readonly methods: readonly AdminRpcName[] }[] = [
  { caller: VIEWER, methods: READS },
  { caller: REGISTRAR, methods: [...READS, ...ENTRY_CHANGES] },
  { caller: POLICY, methods: [...READS, 'clearShadowReport', 'rollBackPolicy', 'releasePolicy'] },
  { caller: AUTHORITY, methods: ALL },
];

async function testAdmin() {
  const admin = createTestAdmin({ callers: ALL_CALLERS });
  admin.entries.set('old', testEntry('old', '/team-a'));
  await admin.call('setBundle', { trustDomain: 'other.test', document: '{"keys":[]}' }, { uid: AUTHORITY.uid });
  await admin.call('revoke', { spiffeId: TEAM_A, reason: 1 }, { uid: AUTHORITY.uid });
  admin.events.length = 0;
  return admin;
}

describe('the table of rights', () => {
  test('has every method of the protos, and the endpoint serves them all', () => {
    assert.deepEqual(Object.keys(NEEDS), ALL);
    assert.deepEqual(
      createTestAdmin().paths,
      Object.values(ADMIN_RPCS).map(({ path }) => path),
    );
  });

  test('refuses a method that it does not have, to every role', () => {
    for (const { uid } of ALL_CALLERS) {
      for (const name of ['deleteEverything', 'constructor', '__proto__', '']) {
        assert.throws(() => authorize(name, uid, ALL_CALLERS), { code: 'permission_denied' });
      }
    }
  });

  for (const { caller, methods } of MAY) {
    for (const name of ALL) {
      const may = methods.includes(name);
      test(`${caller.role} ${may ? 'may call' : 'is refused'} ${name}`, async () => {
        const admin = await testAdmin();
        const before = JSON.stringify([admin.asked, [...admin.entries], [...admin.foreign], [...admin.revocations]]);
        const calling = admin.callBytes(name, GOOD[name], { uid: caller.uid });
        if (may) await calling;
        else {
          await assert.rejects(calling, { code: 'permission_denied' });
          const after = JSON.stringify([admin.asked, [...admin.entries], [...admin.foreign], [...admin.revocations]]);
          assert.equal(after, before);
        }
        const [event, ...more] = admin.events;
        assert.deepEqual(more, []);
        assert.ok(event?.event === 'admin_call');
        assert.equal(event.result, may ? 'success' : 'failure');
        assert.equal(event.caller?.uid, caller.uid);
        assert.match(event.role ?? '', new RegExp(`^${caller.role}`));
      });
    }
  }

  for (const name of ALL) {
    test(`a user without a role is refused ${name}`, async () => {
      const admin = await testAdmin();
      await assert.rejects(admin.callBytes(name, GOOD[name], { uid: 99 }), {
        code: 'permission_denied',
        message: new RegExp(`^permission_denied: user 99 has no role; ${name} needs `),
      });
      assert.partialDeepStrictEqual(admin.events, [{ event: 'admin_call', role: 'none', result: 'failure' }]);
    });
  }
});

describe('who calls', () => {
  test('is what the kernel says, not the message: a caller on TCP has no user', async () => {
    const admin = createTestAdmin();
    const peer = { kind: 'tcp', connectionId: 1, address: '127.0.0.1:1' } as const;
    await assert.rejects(admin.call('listEntries', {}, { peer }), { code: 'permission_denied' });
    assert.partialDeepStrictEqual(admin.events, [{ role: 'none', caller: {} }]);
  });

  test('is nobody under the uid that stands for users of other namespaces, even when it is listed', async () => {
    const admin = createTestAdmin({ callers: [{ uid: 65_534, role: 'authority' }] });
    await assert.rejects(admin.call('listEntries', {}, { uid: 65_534 }), { code: 'permission_denied' });
  });

  test('has all roles of its rows together', async () => {
    const callers = [
      { uid: 5, role: 'registrar', pathPrefix: '/a' },
      { uid: 5, role: 'registrar', pathPrefix: '/b' },
    ] as const;
    const { assertMayChange, role } = authorize('createEntry', 5, callers);
    assert.equal(role, 'registrar:/a,registrar:/b');
    for (const path of ['/a', '/b/c']) assertMayChange(testEntry('e', path).entry);
    assert.throws(() => assertMayChange(testEntry('e', '/c').entry), {
      code: 'permission_denied',
      message: 'the role registrar:/a,registrar:/b does not reach entry e: it gives spiffe://example.test/c',
    });
  });
});

describe('the paths of a registrar', () => {
  const CASES: readonly { readonly prefix?: string; readonly path: string; readonly may: boolean }[] = [
    { prefix: '/team-a', path: '/team-a', may: true },
    { prefix: '/team-a', path: '/team-a/x/y', may: true },
    { prefix: '/team-a', path: '/team-ab', may: false },
    { prefix: '/team-a', path: '/team', may: false },
    { prefix: '/team-a', path: '/x/team-a', may: false },
    { prefix: '/team-a/', path: '/team-a', may: false },
    { prefix: '/team-a/', path: '/team-a/x', may: true },
    { prefix: '/team-a/', path: '/team-ab/x', may: false },
    { prefix: '/', path: '/anything', may: true },
    { path: '/anything', may: true },
  ];
  for (const { prefix, path, may } of CASES) {
    test(`${prefix ?? 'no prefix'} ${may ? 'reaches' : 'does not reach'} ${path}`, () => {
      const caller = { uid: 2, role: 'registrar', ...(prefix === undefined ? {} : { pathPrefix: prefix }) } as const;
      const { assertMayChange } = authorize('createEntry', 2, [caller]);
      const change = (): void => assertMayChange(testEntry('e', path).entry);
      if (may) change();
      else assert.throws(change, { code: 'permission_denied' });
    });
  }
});
