import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SvidgateError } from '../../../../src/core/index.ts';
import { int64ToBigInt, timestampToMs, type AdminRpcName } from '../../../../src/proto/index.ts';
import { parseSpiffeId } from '../../../../src/spiffe/index.ts';
import { createTestAdmin, testReport, UID } from './support.ts';

const JSON_BUNDLE = JSON.stringify({ keys: [], spiffe_sequence: 9, spiffe_refresh_hint: 60 });

describe('authorities through the admin API', () => {
  test('are listed, prepared, activated, tainted and revoked', async () => {
    const admin = createTestAdmin();
    const { authorities } = await admin.call('listAuthorities', {});
    assert.partialDeepStrictEqual(authorities, [
      {
        kind: 1,
        authorityId: 'abc123',
        state: 2,
        keyType: 'ec-p256',
        upstreamAuthorityId: 'ffee',
        waitingFor: ['node-1'],
      },
    ]);
    await admin.call('prepareAuthority', { kind: 2 });
    for (const name of ['activateAuthority', 'taintAuthority', 'revokeAuthority'] as const) {
      await admin.call(name, { kind: 1, authorityId: 'abc' });
    }
    assert.deepEqual(admin.asked, ['prepare jwt', 'activate x509 abc', 'taint x509 abc', 'revoke x509 abc']);
    assert.partialDeepStrictEqual(admin.events.slice(2), [{ authority_id: 'abc' }]);
  });
});

describe('bundles through the admin API', () => {
  test('are set, listed, shown in both forms and deleted', async () => {
    const admin = createTestAdmin();
    const set = await admin.call('setBundle', { trustDomain: 'partner.test', document: JSON_BUNDLE });
    assert.partialDeepStrictEqual(set, { trustDomain: 'partner.test', source: 3 });
    const { bundles } = await admin.call('listBundles', {});
    assert.deepEqual(
      bundles.map(({ trustDomain, source, sequence, refreshHintSeconds }) => [
        trustDomain,
        source,
        Number(sequence),
        Number(refreshHintSeconds),
      ]),
      [
        ['example.test', 1, 3, 0],
        ['partner.test', 3, 9, 60],
      ],
    );
    const { document } = await admin.call('getBundle', { trustDomain: 'partner.test', format: 2 });
    assert.deepEqual(JSON.parse(document), JSON.parse(JSON_BUNDLE));
    assert.equal((await admin.call('getBundle', { format: 1 })).document, '');
    await admin.call('deleteBundle', { trustDomain: 'partner.test' });
    await assert.rejects(admin.call('getBundle', { trustDomain: 'partner.test', format: 1 }), { code: 'not_found' });
  });
});

describe('revocations through the admin API', () => {
  test('are made, listed oldest first and undone', async () => {
    const admin = createTestAdmin();
    const bySerial = await admin.call('revoke', { serial: '00:5F:0C:AA', reason: 2 });
    assert.partialDeepStrictEqual(bySerial, { serial: '5f0caa', reason: 2 });
    await admin.clock.advance(1000);
    await admin.call('revoke', { spiffeId: 'spiffe://example.test/a', reason: 1 });
    const { revocations } = await admin.call('listRevocations', {});
    assert.deepEqual(
      revocations.map(({ serial, spiffeId }) => serial || spiffeId),
      ['5f0caa', 'spiffe://example.test/a'],
    );
    await admin.call('undoRevocation', { revocationId: bySerial.revocationId });
    assert.equal(admin.revocations.size, 1);
    assert.partialDeepStrictEqual(admin.events, [
      { method: 'SvidAdmin/Revoke', serial: '5f0caa' },
      { method: 'SvidAdmin/Revoke', spiffe_id: 'spiffe://example.test/a' },
      { method: 'SvidAdmin/ListRevocations' },
      { method: 'SvidAdmin/UndoRevocation', serial: '5f0caa' },
    ]);
  });

  test('of a foreign SPIFFE ID need the bundle of its trust domain', async () => {
    const admin = createTestAdmin();
    const request = { spiffeId: 'spiffe://partner.test/a', reason: 1 };
    await assert.rejects(admin.call('revoke', request), { code: 'invalid_request' });
    await admin.call('setBundle', { trustDomain: 'partner.test', document: JSON_BUNDLE });
    await admin.call('revoke', request);
  });
});

describe('the status', () => {
  const envoy = (id: number, nodeId = `node-${id}`) => ({
    id,
    nodeId,
    nodeCluster: 'c',
    pid: 100 + id,
    uid: 4_294_967_000,
    spiffeIds: [parseSpiffeId('spiffe://example.test/a')],
    resources: [
      {
        name: 'default',
        kind: 'x509_svid',
        version: 'abc',
        sentAt: Date.UTC(2026, 0, 1),
        acknowledged: false,
        acknowledgedVersion: 'abb',
        unapplied: true,
        serial: '5f0caa',
        expiresAt: Date.UTC(2026, 0, 2),
        bundleSequence: 2 ** 40,
        lastNack: { reason: 'no such cipher', at: Date.UTC(2026, 0, 1) },
      },
    ],
    connectedAt: Date.UTC(2026, 0, 1),
    expiresAt: Date.UTC(2026, 0, 2),
  });

  test('has what the provider says, and the Envoys in pages in the order of their connections', async () => {
    const report = testReport({ envoys: [envoy(10), envoy(9), envoy(2)] });
    const admin = createTestAdmin({ status: { status: () => report } });
    const first = await admin.call('getStatus', { pageSize: 2 });
    assert.partialDeepStrictEqual(first, {
      version: '1.2.3',
      trustDomain: 'example.test',
      listeners: [{ name: 'workload', address: 'unix:/run/api.sock' }],
      policies: [{ name: 'default', state: 'failed', problem: 'rego' }],
      entries: { stale: true, mistakeCount: 1 },

      audit: { state: 2, required: true, file: '/var/log/audit.jsonl' },
      foreignBundleCount: 1,
      warnings: ['a warning'],
    });
    assert.deepEqual(
      first.envoys.map(({ nodeId, pid }) => [nodeId, pid]),
      [
        ['node-2', 102],
        ['node-9', 109],
      ],
    );
    const [resource] = first.envoys[0]?.resources ?? [];
    assert.partialDeepStrictEqual(resource, {
      kind: 'x509_svid',
      version: 'abc',
      acknowledgedVersion: 'abb',
      unapplied: true,
      serial: '5f0caa',
      lastNack: 'no such cipher',
    });
    assert.ok(resource?.sentAt && resource.expiresAt && !resource.acknowledged);
    assert.equal(timestampToMs(resource.sentAt), Date.UTC(2026, 0, 1));
    assert.equal(timestampToMs(resource.expiresAt), Date.UTC(2026, 0, 2));
    assert.equal(int64ToBigInt(resource.bundleSequence), 2n ** 40n);
    assert.equal(Number(first.envoyCount), 3);
    const second = await admin.call('getStatus', { pageToken: first.nextPageToken });
    assert.deepEqual(
      second.envoys.map(({ nodeId }) => nodeId),
      ['node-10'],
    );
    assert.equal(second.nextPageToken, '');
  });

  test('holds no more of a text that an Envoy wrote than fits', async () => {
    const report = testReport({ envoys: [envoy(1, 'x'.repeat(1_000_000))] });
    const admin = createTestAdmin({ status: { status: () => report } });
    const { envoys } = await admin.call('getStatus', {});
    assert.equal(envoys[0]?.nodeId.length, 1025);
  });

  test('when watched comes at once and again when it changed, and ends with the call', async () => {
    let report = testReport();
    const admin = createTestAdmin({ status: { status: () => report } });
    const stop = new AbortController();
    const stream = admin.stream('watchStatus', {}, { signal: stop.signal });
    assert.equal((await stream.next()).value?.warnings.length, 1);
    const next = stream.next();
    await admin.clock.advance(5000); // nothing changed: nothing comes
    report = testReport({ warnings: [] });
    await admin.clock.advance(1000);
    assert.equal((await next).value?.warnings.length, 0);
    const last = stream.next();
    stop.abort();
    assert.equal((await last).done, true);
    assert.equal(admin.clock.sleeping, 0);
  });

  test('is watched by 32 callers and no more; one that leaves makes room', async () => {
    const admin = createTestAdmin();
    const streams = Array.from({ length: 32 }, () => admin.stream('watchStatus', {}));
    for (const stream of streams) await stream.next();
    await assert.rejects(admin.stream('watchStatus', {}).next(), { code: 'overloaded' });
    await streams[0]?.return();
    const another = admin.stream('watchStatus', {});
    assert.equal((await another.next()).done, false);
    for (const stream of [...streams, another]) await stream.return();
  });
});

describe('the explanation of an attestation', () => {
  test('shows selectors, failures, matches and near misses', async () => {
    const { attestors, matches, nearMisses, pid } = await createTestAdmin().call('explainAttestation', { pid: 12 });
    assert.equal(pid, 12);
    assert.partialDeepStrictEqual(attestors, [
      { name: 'unix', selectors: ['unix:uid:7'] },
      { name: 'docker', selectors: ['docker:image_id:x'] },
      { name: 'k8s', problem: 'no kubelet' },
    ]);
    assert.partialDeepStrictEqual(matches, [{ entryId: 'e1' }]);
    assert.partialDeepStrictEqual(nearMisses, [
      { entryId: 'e2', missingSelectors: ['unix:uid:8'], obstacle: 'expired' },
    ]);
  });
});

describe('a backup', () => {
  test('comes in chunks, and is in the audit log before its first byte', async () => {
    const admin = createTestAdmin();
    const sizes: number[] = [];
    for await (const { data } of admin.stream('backup', { passphrase: 'long enough for it' })) {
      assert.partialDeepStrictEqual(admin.events, [{ method: 'StateAdmin/Backup', result: 'success' }]);
      sizes.push(data.length);
    }
    assert.deepEqual(sizes, [262_144, 262_144, 75_712]);
    assert.doesNotMatch(JSON.stringify(admin.events), /long enough/);
  });

  test('that cannot be recorded is not given away', async () => {
    const record = (): void => {
      throw new SvidgateError('audit_failed', 'the disk is full');
    };
    const admin = createTestAdmin({ audit: { record } });
    const backup = admin.stream('backup', { passphrase: 'long enough for it' });
    await assert.rejects(backup.next(), { code: 'audit_failed', message: 'audit_failed: the disk is full' });
  });

  test('is one at a time', async () => {
    const admin = createTestAdmin();
    const first = admin.stream('backup', { passphrase: 'long enough for it' });
    await first.next();
    const second = admin.stream('backup', { passphrase: 'long enough for it' });
    await assert.rejects(second.next(), { code: 'overloaded' });
    await first.return();
    await admin.stream('backup', { passphrase: 'long enough for it' }).next();
  });
});

describe('the audit of a call', () => {
  test('has its time and its result; what failed inside is named by its code only', async () => {
    const admin = createTestAdmin({
      explain: async () => {
        await admin.clock.advance(250);
        throw new Error('a secret of the machine');
      },
    });
    await assert.rejects(admin.call('explainAttestation', { pid: 1 }), { message: 'internal: internal error' });
    assert.deepEqual(admin.events, [
      {
        event: 'admin_call',
        method: 'AttestAdmin/ExplainAttestation',
        caller: { pid: 4711, uid: UID, gid: UID },
        role: 'authority',
        result: 'failure',
        failure_reason: 'internal: internal error',
        duration_ms: 250,
      },
    ]);
  });

  test('that fails keeps the answer back', async () => {
    const record = (): void => {
      throw new SvidgateError('audit_failed', 'the disk is full');
    };
    const admin = createTestAdmin({ audit: { record } });
    await assert.rejects(admin.call('listEntries', {}), { code: 'audit_failed' });
    await assert.rejects(admin.call('listEntries', {}, { uid: 99 }), { code: 'audit_failed' });
  });
});

describe('a bad request', () => {
  const long = (length: number): string => 'x'.repeat(length);
  const CASES: readonly (readonly [AdminRpcName, object, RegExp])[] = [
    ['prepareAuthority', {}, /^invalid_request: kind: missing: expected x509, jwt$/],
    ['prepareAuthority', { kind: 3 }, /kind: 3 is unknown/],
    ['activateAuthority', { authorityId: 'a' }, /kind: missing/],
    ['activateAuthority', { kind: 1 }, /authority_id: missing/],
    ['taintAuthority', { kind: 1, authorityId: 'a/b' }, /authority_id: expected the id of an authority/],
    ['revokeAuthority', { kind: 1, authorityId: long(129) }, /authority_id: longer than 128/],
    ['listBundles', { pageSize: 5000 }, /page_size: 5000 is not from 0 to 1000/],
    ['getBundle', {}, /format: missing: expected pem, spiffe/],
    ['getBundle', { format: 7 }, /format: 7 is unknown/],
    ['getBundle', { format: 1, trustDomain: 'A' }, /trust_domain: trust domain characters/],
    ['setBundle', { document: '{}' }, /trust_domain: missing/],
    ['setBundle', { trustDomain: long(256), document: '{}' }, /trust_domain: trust domain is longer than 255/],
    ['setBundle', { trustDomain: 'example.test', document: '{}' }, /example.test is the own trust domain/],
    ['setBundle', { trustDomain: 'p.test' }, /document: missing/],
    ['setBundle', { trustDomain: 'p.test', document: '{' }, /document: bundle is not JSON/],
    ['setBundle', { trustDomain: 'p.test', document: '{}' }, /document: bundle has no list `keys`/],
    ['setBundle', { trustDomain: 'p.test', document: 'hello' }, /document: expected SPIFFE JSON or at least one PEM/],
    ['setBundle', { trustDomain: 'p.test', document: long(5_000_000) }, /document: bundle is longer than/],
    ['deleteBundle', {}, /trust_domain: missing/],
    ['deleteBundle', { trustDomain: 'example.test' }, /own trust domain/],
    ['revoke', { reason: 1 }, /target: missing: expected serial or spiffe_id/],
    ['revoke', { serial: 'ab' }, /reason: missing: expected unspecified, key_compromise/],
    ['revoke', { serial: 'ab', reason: 7 }, /reason: 7 is unknown/],
    ['revoke', { serial: '', reason: 1 }, /serial: missing/],
    ['revoke', { serial: 'xyz', reason: 1 }, /serial: expected a serial number in hexadecimal/],
    ['revoke', { serial: 'ab:c', reason: 1 }, /serial: expected/],
    ['revoke', { serial: '-1', reason: 1 }, /serial: expected/],
    ['revoke', { serial: '00:00', reason: 1 }, /serial: no SVID has the serial 0/],
    ['revoke', { serial: 'f'.repeat(43), reason: 1 }, /serial: longer than 42 digits/],
    ['revoke', { serial: 'f'.repeat(1000), reason: 1 }, /serial: longer than 126/],
    ['revoke', { spiffeId: 'spiffe://example.test', reason: 1 }, /a trust domain cannot be revoked/],
    ['revoke', { spiffeId: 'spiffe://other.test/a', reason: 1 }, /there is no bundle of trust domain other.test/],
    ['revoke', { spiffeId: 'spiffe://example.test/a/', reason: 1 }, /spiffe_id: path cannot/],
    ['undoRevocation', {}, /revocation_id: missing/],
    ['undoRevocation', { revocationId: 'a b' }, /revocation_id: expected the id of a revocation/],
    ['getStatus', { pageSize: -5 }, /page_size/],
    ['watchStatus', { pageSize: 1001 }, /page_size/],
    ['explainAttestation', {}, /pid: 0 is not from 1 to 4194304/],
    ['explainAttestation', { pid: -1 }, /pid: -1 is not/],
    ['explainAttestation', { pid: 4_194_305 }, /pid: 4194305 is not/],
    ['backup', {}, /passphrase: missing/],
    ['backup', { passphrase: 'short' }, /^invalid_request: passphrase: expected 12 to 1024 characters$/],
    ['backup', { passphrase: long(1025) }, /^invalid_request: passphrase: expected 12 to 1024 characters$/],
  ];
  for (const [name, request, message] of CASES) {
    test(`${name} ${JSON.stringify(request).slice(0, 80)}`, async () => {
      const admin = createTestAdmin();
      await assert.rejects(admin.call(name, request), { code: 'invalid_request', message });
      assert.deepEqual([admin.asked, admin.foreign.size, admin.revocations.size], [[], 0, 0]);
      assert.partialDeepStrictEqual(admin.events, [{ event: 'admin_call', result: 'failure' }]);
      assert.doesNotMatch(JSON.stringify(admin.events), /short/);
    });
  }
});
