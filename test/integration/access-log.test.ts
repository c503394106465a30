import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { DecisionRecord } from '../../src/evidence/index.ts';
import { ACCESS_LOG_SERVICE, METRICS_SERVICE, Status } from '../../src/proto/index.ts';
import { recordsIn, startAccessLogStage, type AccessLogStage } from '../support/access-log-stage.ts';
import { connect } from '../support/grpc-client.ts';
import { ALLOWED_BY_A, logMessage, peerWith, type EntryParts } from '../support/log-entries.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const LOGS = ACCESS_LOG_SERVICE.streamAccessLogs.path;
const METRICS = METRICS_SERVICE.streamMetrics.path;
const ENTRIES = 'svidgate_offload_log_entries_total';
const LIMIT_MS = 10_000;

/** What came of the entries, by result. */
async function log(stage: AccessLogStage, entries: readonly EntryParts[]): Promise<Readonly<Record<string, number>>> {
  const results = ['recorded', 'ignored', 'refused'];
  const counts = async (): Promise<readonly number[]> =>
    Promise.all(results.map((result) => stage.metric(`${ENTRIES}{result="${result}"}`)));
  const before = await counts();
  using client = connect(stage.socket);
  const stream = client.open(LOGS, Status);
  stream.sendBytes(logMessage(...entries));
  return await waitUntil('all entries', LIMIT_MS, async () => {
    const found = (await counts()).map((count, index) => count - (before[index] ?? 0));
    const all = found.reduce((sum, count) => sum + count, 0);
    return all === entries.length && Object.fromEntries(results.map((result, index) => [result, found[index] ?? 0]));
  });
}

describe('an access log at the workload socket', () => {
  it('makes records of policies and rules that the caller may have, and of nothing else', async () => {
    await using folder = await tempFolder();
    {
      await using stage = await startAccessLogStage(folder.path, { policies: ['default', 'slow'] });
      const by = (texts: Readonly<Record<string, string>>): EntryParts => ({ texts });
      const peer = { ...ALLOWED_BY_A, svidgate_default_shadow_effective_policy_id: 'rule-peer' };
      const CASES: readonly (readonly [string, EntryParts, string])[] = [
        ['allowed', {}, 'recorded'],
        ['by a verified peer', { texts: peer, common: peerWith('spiffe://example.test/web') }, 'recorded'],
        ['refused without a call', by({ svidgate_default_enforced_engine_result: 'denied' }), 'recorded'],
        ['asked by a call', by({ svidgate_default_shadow_engine_result: 'denied' }), 'ignored'],
        ['of nobody', by({}), 'ignored'],
        ['at its begin', { common: { accessLogType: 4 } }, 'ignored'],
        [
          'a rule that nobody was given',
          by({ ...ALLOWED_BY_A, svidgate_default_shadow_effective_policy_id: 'x' }),
          'refused',
        ],
        [
          'a rule that other callers were given',
          by({ ...ALLOWED_BY_A, svidgate_default_shadow_effective_policy_id: 'rule-foreign' }),
          'refused',
        ],
        ['no rule', by({ svidgate_default_shadow_engine_result: 'allowed' }), 'refused'],
        ['refused, of a policy without fast_deny', by({ svidgate_slow_enforced_engine_result: 'denied' }), 'refused'],
        ['of a policy that it may not ask for', by({ svidgate_other_enforced_engine_result: 'denied' }), 'refused'],
        [
          'a rule of another policy',
          by({ svidgate_other_shadow_engine_result: 'allowed', svidgate_other_shadow_effective_policy_id: 'rule-a' }),
          'refused',
        ],
        ['larger than any', { request: { path: `/${'a'.repeat(70_000)}` } }, 'refused'],
      ];
      for (const [what, parts, result] of CASES) {
        assert.equal((await log(stage, [parts]))[result], 1, what);
      }
      assert.equal(stage.evidence()?.received, 2);
    }
    const records = await recordsIn(folder.path);
    assert.deepEqual(
      records.map(({ svidgate }) => [svidgate.outcome, svidgate.principal, svidgate.principal_verified_by]),
      [
        ['allow', 'unverified', undefined],
        ['allow', 'spiffe://example.test/web', 'envoy'],
        ['deny', 'unverified', undefined],
      ],
    );
  });

  it('waits for rules that are soon known, as after a restart, and for others only once', async () => {
    await using folder = await tempFolder();
    let isKnown = false;
    let waited = 0;
    const origin = { policy: 'default', policyDigest: 'd1', origin: [], peer: 'anyone', isFor: () => true } as const;
    await using stage = await startAccessLogStage(folder.path, {
      originOf: (rule) => (isKnown && rule === 'rule-a' ? origin : undefined),
      whenKnown: () => {
        waited += 1;
        isKnown = true;
        return Promise.resolve();
      },
    });
    const strange: EntryParts = { texts: { ...ALLOWED_BY_A, svidgate_default_shadow_effective_policy_id: 'x' } };
    assert.deepEqual(await log(stage, [{}, {}, strange, strange]), { recorded: 2, ignored: 0, refused: 2 });
    assert.equal(waited, 1);
  });

  it('is refused to a process without an entry, and has a book for those alone who tell what counts', async () => {
    await using folder = await tempFolder();
    let isRegistered = false;
    await using stage = await startAccessLogStage(folder.path, { isRegistered: () => isRegistered });
    using client = connect(stage.socket);
    for (const path of [LOGS, METRICS]) {
      const stranger = client.open(path, Status);
      stranger.sendBytes(logMessage({}));
      assert.equal((await stranger.ended).code, 7, path);
    }
    isRegistered = true;
    const strange = { texts: { svidgate_other_enforced_engine_result: 'denied' } };
    assert.equal((await log(stage, [strange, { texts: {} }]))['refused'], 1);
    assert.deepEqual(stage.books.save().processes, []);
    await log(stage, [{}]);
    assert.equal(stage.books.save().processes.length, 1);
  });

  it('follows the rules for records in force where the policy of a request is not known', async () => {
    await using folder = await tempFolder();
    {
      const origin = { policy: 'default', origin: [], peer: 'anyone', isFor: () => true } as const;
      await using stage = await startAccessLogStage(folder.path, {
        originOf: (rule) => (rule === 'rule-a' ? origin : undefined),
        logRules: {
          async evaluate(event) {
            const { svidgate } = JSON.parse(Buffer.from(event).toString('utf8')) as Pick<DecisionRecord, 'svidgate'>;
            return { kind: 'value', value: { drop: svidgate.outcome === 'deny' } };
          },
          close: () => Promise.resolve(),
        },
      });
      const denied: EntryParts = { texts: { svidgate_default_enforced_engine_result: 'denied' } };
      assert.equal((await log(stage, [denied, {}, denied]))['recorded'], 3);
    }
    const records = await recordsIn(folder.path);
    assert.deepEqual(
      records.map(({ svidgate }) => [svidgate.outcome, svidgate.policy_digest, svidgate.offload_rule]),
      [['allow', undefined, 'rule-a']],
    );
  });

  it('has books that go on after a restart of svidgate, and not after one of the machine', async () => {
    await using folder = await tempFolder();
    const receivedAfter = async (): Promise<number | undefined> => {
      await using stage = await startAccessLogStage(folder.path);
      await log(stage, [{}]);
      return stage.evidence()?.received;
    };
    assert.deepEqual([await receivedAfter(), await receivedAfter()], [1, 2]);
    const path = join(folder.path, 'offload-evidence.json');
    const kept = JSON.parse(await readFile(path, 'utf8')) as object;
    await writeFile(path, JSON.stringify({ ...kept, bootId: 'another' }));
    assert.equal(await receivedAfter(), 1);
  });

  it('shows nothing of what the allow-list does not name', async () => {
    await using folder = await tempFolder();
    {
      await using stage = await startAccessLogStage(folder.path, { needs: 'all' });
      const requestHeaders = { authorization: 'Bearer s3cret-value', 'x-tenant': 's3cret-value' };
      await log(stage, [{ request: { requestHeaders, path: '/a?token=s3cret-value' } }]);
    }
    const [record] = await recordsIn(folder.path);
    assert.ok(record?.input !== undefined);
    assert.ok(!JSON.stringify(record).includes('s3cret'));
    assert.equal(record.svidgate.replayable, false);
  });

  it('ends on what is no log, and no other stream with it', async () => {
    await using folder = await tempFolder();
    await using stage = await startAccessLogStage(folder.path);
    using client = connect(stage.socket);
    const good = client.open(LOGS, Status);
    good.sendBytes(logMessage({}));
    for (const path of [LOGS, METRICS]) {
      const bad = client.open(path, Status);
      bad.sendBytes(Buffer.from('no message at all'));
      assert.equal((await bad.ended).code, 3, path);
    }
    good.sendBytes(logMessage({}, {}));
    await waitUntil('the others', LIMIT_MS, () => stage.evidence()?.received === 3);
  });

  it('fills half of the queue at most, and what does not fit is counted', async () => {
    await using folder = await tempFolder();
    await using stage = await startAccessLogStage(folder.path);
    const entries = Array.from({ length: 1000 }, (): EntryParts => ({}));
    using client = connect(stage.socket);
    const stream = client.open(LOGS, Status);
    for (let count = 0; count < 20; count += 1) stream.sendBytes(logMessage(...entries));
    await waitUntil('all entries', 30_000, () => stage.evidence()?.received === 20_000);
    const lost = await stage.metric('svidgate_decision_log_lost_total{reason="queue"}');
    assert.ok(lost < 20_000);
    await stage[Symbol.asyncDispose]();
    assert.equal((await recordsIn(folder.path)).length + lost, 20_000);
  });
});
