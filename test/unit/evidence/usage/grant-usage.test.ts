import assert from 'node:assert/strict';
import { test } from 'node:test';
import { grantUsage, type DecisionRecord } from '../../../../src/evidence/index.ts';
import { evaluateGrants, openPolicy, snapshotSource } from '../../../../src/policy/index.ts';
import { recordOf } from '../../../support/decision-records.ts';
import { patientCompiler as compiler, patientProgram as program } from '../../../support/patient-compiler.ts';

const { signal } = new AbortController();
const RULES = `package envoy.authz

default allow := false

allow if {
	some row in data.rows
	input.svidgate.peer.spiffe_id in row.from
	input.attributes.request.http.method in row.methods
}

allow if input.attributes.request.http.path == "/health"
`;
const DATA = { rows: [{ from: ['spiffe://a.test/web', 'spiffe://a.test/app'], methods: ['GET', 'DELETE'] }] };

const of = (principal: string, method: string): object => ({
  svidgate: { peer: { spiffe_id: principal } },
  attributes: { request: { http: { method, path: '/' } } },
});

async function* each(records: readonly DecisionRecord[]): AsyncGenerator<DecisionRecord> {
  for (const record of records) yield await Promise.resolve(record);
}

test('what nobody used is listed by principal, and records that prove nothing do not count', async () => {
  const files = { modules: { 'authz.rego': RULES }, data: { 'data.json': JSON.stringify(DATA) } };
  const snapshot = { files, tests: {}, digest: 'test' };
  const entrypoint = 'envoy/authz/allow';
  await using policy = await openPolicy({ path: snapshotSource('test', snapshot), entrypoint, compiler, signal });
  await using grants = await (await evaluateGrants({ snapshot, entrypoint, program, signal })).open();
  const web = { svidgate: { principal: 'spiffe://a.test/web' } };
  const records = [
    await recordOf(policy, of('spiffe://a.test/web', 'GET'), { ...web, timestamp: '2026-11-22T10:00:00Z' }),
    await recordOf(policy, of('spiffe://a.test/web', 'GET'), { ...web, timestamp: '2026-11-22T11:00:00Z' }),
    await recordOf(policy, of('spiffe://a.test/web', 'PUT'), web),
    await recordOf(policy, of('spiffe://a.test/app', 'DELETE'), { svidgate: { caller: 'anonymous' } }),
    await recordOf(policy, of('spiffe://a.test/app', 'DELETE'), { svidgate: { policy: 'other' } }),
    await recordOf(policy, of('spiffe://a.test/app', 'DELETE'), { erased: ['/input/attributes'] }),
    await recordOf(policy, of('spiffe://a.test/old', 'GET'), { svidgate: { outcome: 'allow' } }),
  ];
  const report = await grantUsage(each(records), grants, { policy: 'default', signal });
  assert.deepEqual([report.read, report.explained, report.unexplained, report.notReplayable], [7, 2, 1, 1]);
  assert.deepEqual(report.leftOut, { anonymous: 1, otherPolicies: 1, notAllowed: 1 });
  const unused = report.grants.filter(({ count }) => count === 0);
  assert.deepEqual(
    unused.map(({ principal, conditions }) => [principal, conditions.at(-1)]),
    [
      ['spiffe://a.test/web', 'input.attributes.request.http.method = "DELETE"'],
      ['spiffe://a.test/app', 'input.attributes.request.http.method = "GET"'],
      ['spiffe://a.test/app', 'input.attributes.request.http.method = "DELETE"'],
      [undefined, 'input.attributes.request.http.path = "/health"'],
    ],
  );
  const [used] = report.grants.filter(({ count }) => count > 0);
  assert.deepEqual([used?.count, used?.lastUsed], [2, '2026-11-22T11:00:00Z']);
  assert.deepEqual(used?.usedBy, [{ principal: 'spiffe://a.test/web', count: 2 }]);
  assert.deepEqual(
    report.rules.map(({ line, grants: count, used: taken }) => [line, count, taken]),
    [
      [5, 4, 1],
      [11, 1, 0],
    ],
  );
});

test('a rule that Envoy alone allowed by is used, also where its log does not say by which grant', async () => {
  const files = { modules: { 'authz.rego': RULES }, data: { 'data.json': JSON.stringify(DATA) } };
  const snapshot = { files, tests: {}, digest: 'd1' };
  const entrypoint = 'envoy/authz/allow';
  await using policy = await openPolicy({ path: snapshotSource('test', snapshot), entrypoint, compiler, signal });
  await using grants = await (await evaluateGrants({ snapshot, entrypoint, program, signal })).open();
  const rules = [{ name: 'data.envoy.authz.allow', file: 'authz.rego', line: 11 }];
  const of = { offloaded: true, rules, replayable: false, recorded: [] } as const;
  const [current, older] = await Promise.all(
    ['d1', 'd0'].map((policy_digest) => recordOf(policy, {}, { svidgate: { ...of, policy_digest, outcome: 'allow' } })),
  );
  const usedAt11 = async (record: DecisionRecord | undefined): Promise<number | undefined> => {
    const report = await grantUsage(each(record === undefined ? [] : [record]), grants, { digest: 'd1', signal });
    assert.equal(report.notReplayable, 1);
    return report.rules.find(({ line }) => line === 11)?.used;
  };
  assert.equal(await usedAt11(current), 1);
  assert.equal(await usedAt11(older), 0, 'of another version its lines mean something else');
});
