import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readRecords, replay, type DecisionRecord, type ReplayReport } from '../../../../src/evidence/index.ts';
import { openPolicy, snapshotSource, type OpenedPolicy } from '../../../../src/policy/index.ts';
import { decisionRecord, recordOf, type RecordParts } from '../../../support/decision-records.ts';
import { patientCompiler as compiler } from '../../../support/patient-compiler.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const { signal } = new AbortController();

function open(rules: string, entrypoint = 'envoy/authz/allow'): Promise<OpenedPolicy> {
  const files = { modules: { 'authz.rego': `package envoy.authz\n${rules}\n` }, data: {} };
  const path = snapshotSource('test', { files, tests: {}, digest: rules });
  return openPolicy({ path, entrypoint, compiler, signal });
}

async function* each(records: readonly DecisionRecord[]): AsyncGenerator<DecisionRecord> {
  for (const record of records) {
    yield record;
    await Promise.resolve();
  }
}

function run(records: readonly DecisionRecord[], policy: OpenedPolicy, policyName?: string): Promise<ReplayReport> {
  return replay(each(records), policy, { signal, ...(policyName === undefined ? {} : { policy: policyName }) });
}

const request = (method: string, headers: Readonly<Record<string, string>> = {}): object => ({
  attributes: { request: { http: { method, headers } } },
});

const BY_METHOD = `
default allow := false
allow if input.attributes.request.http.method == "GET"
allow if input.attributes.request.http.headers["x-role"] == "admin"
`;

test('the policy that made the records gives the same answers, and each question is asked once', async () => {
  await using policy = await open(BY_METHOD);
  const records = [
    await recordOf(policy, request('GET')),
    await recordOf(policy, request('GET')),
    await recordOf(policy, request('POST')),
    await recordOf(policy, request('POST', { 'x-role': 'admin' })),
  ];
  const report = await run(records, policy);
  assert.deepEqual(
    { replayed: report.replayed, changed: report.changed, share: report.shareReplayable, asked: report.evaluations },
    { replayed: 4, changed: 0, share: 1, asked: 3 },
  );
});

test('a change names the decisions that it changes, by principal and route', async () => {
  await using before = await open(BY_METHOD);
  await using after = await open(`
default allow := false
allow if input.attributes.request.http.method == "HEAD"
allow if input.attributes.request.http.headers["x-role"] == "admin"
`);
  const alice = { svidgate: { principal: 'spiffe://example.test/alice', route: 'orders' } };
  const records = [
    await recordOf(before, request('GET'), { decision_id: 'one', ...alice }),
    await recordOf(before, request('GET'), { decision_id: 'two', ...alice }),
    await recordOf(before, request('HEAD'), { decision_id: 'three', svidgate: { method: 'HEAD' } }),
    await recordOf(before, request('GET', { 'x-role': 'admin' }), alice),
    await recordOf(before, request('PUT'), alice),
  ];
  const { changes, changed, replayed } = await run(records, after);
  assert.deepEqual([replayed, changed], [5, 3]);
  assert.deepEqual(changes, [
    {
      principal: 'spiffe://example.test/alice',
      method: 'GET',
      route: 'orders',
      change: 'would_deny',
      before: 'allow',
      after: 'deny',
      count: 2,
      samples: ['one', 'two'],
    },
    {
      principal: 'spiffe://example.test/web',
      method: 'HEAD',
      route: 'orders.test/orders',
      change: 'would_allow',
      before: 'deny',
      after: 'allow',
      count: 1,
      samples: ['three'],
    },
  ]);
});

test('a policy that looks at more than was recorded is not asked, and the report says what is missing', async () => {
  await using before = await open(BY_METHOD);
  await using after = await open(`
default allow := false
allow if { input.attributes.request.http.method == "GET"; not input.attributes.request.http.headers["x-block"] }
`);
  const report = await run([await recordOf(before, request('GET')), await recordOf(before, request('PUT'))], after);
  assert.deepEqual([report.replayed, report.notReplayable, report.shareReplayable], [0, 2, 0]);
  assert.deepEqual(report.reasons, [{ missing: '/input/attributes/request/http/headers/x-block', count: 2 }]);
});

test('a policy that takes all of the input needs records of all of it', async () => {
  await using all = await open('default allow := false\nallow if count(input) > 0');
  await using part = await open(BY_METHOD);
  const ofPart = await run([await recordOf(part, request('GET'))], all);
  assert.deepEqual(ofPart.reasons, [{ missing: '/input', count: 1 }]);
  const ofAll = await run([await recordOf(all, request('GET'))], part);
  assert.deepEqual([ofAll.replayed, ofAll.changed], [1, 0]);
});

const HEADERS = '/input/attributes/request/http/headers';
const REMOVED: readonly (readonly [name: string, parts: RecordParts, replayed: number])[] = [
  ['what the policy looks at was erased', { erased: [`${HEADERS}/x-role`] }, 0],
  ['what the policy looks at was replaced', { masked: [`${HEADERS}/x-role`] }, 0],
  ['all around it was erased', { erased: [HEADERS] }, 0],
  ['something in it was erased', { erased: [`${HEADERS}/x-role/a`] }, 0],
  ['all of the input was erased', { erased: ['/input'] }, 0],
  ['something else was erased', { erased: [`${HEADERS}/cookie`] }, 1],
  ['the record says so', { svidgate: { replayable: false, unreplayable: [`${HEADERS}/x-role`] } }, 0],
  ['it says so of something else', { svidgate: { replayable: false, unreplayable: [`${HEADERS}/cookie`] } }, 1],
  ['it does not say of what', { svidgate: { replayable: false } }, 0],
  ['an answer of a builtin was masked', { masked: ['/nd_builtin_cache/http.send'] }, 0],
  ['it does not say what was recorded', { svidgate: { recorded: [] } }, 0],
];

test('a record with a hole is replayed only by a policy that does not look there', async () => {
  await using policy = await open(BY_METHOD);
  for (const [name, parts, replayed] of REMOVED) {
    const report = await run([await recordOf(policy, request('PUT', { 'x-role': 'admin' }), parts)], policy);
    assert.deepEqual([report.replayed, report.notReplayable], [replayed, 1 - replayed], name);
    assert.equal(report.changed, 0, name);
  }
});

test('records that say nothing about the policy are left out and counted', async () => {
  await using policy = await open(BY_METHOD);
  const { path: _, ...unasked } = decisionRecord({ svidgate: { outcome: 'deny', reason: 'peer_revoked' } });
  const report = await run(
    [
      await recordOf(policy, request('GET'), { svidgate: { caller: 'anonymous' } }),
      await recordOf(policy, request('GET'), { svidgate: { policy: 'other' } }),
      unasked,
      decisionRecord({ svidgate: { outcome: 'failure', reason: 'overloaded' } }),
      await recordOf(policy, request('GET')),
    ],
    policy,
    'default',
  );
  assert.deepEqual(report.leftOut, { anonymous: 1, otherPolicies: 1, undecided: 1 });
  assert.deepEqual([report.read, report.replayed, report.notReplayable], [5, 1, 1]);
  assert.deepEqual(report.reasons, [{ missing: 'no answer was made: overloaded', count: 1 }]);
});

test('numbers are those of the request, not those of a double', async () => {
  await using policy = await open(`
default allow := false
allow if input.parsed_body.account == 12345678901234567891
`);
  await using folder = await tempFolder();
  const line = JSON.stringify(await recordOf(policy, { parsed_body: { account: 'DIGITS' } }));
  const log = join(folder.path, 'decisions.jsonl');
  const texts = ['12345678901234567891', '12345678901234567892', '1.2345678901234567891e19'];
  await writeFile(log, texts.map((digits) => `${line.replace('"DIGITS"', digits)}\n`).join(''));
  const report = await replay(readRecords(log), policy, { signal });
  // Made with a text, which is no number: each one that is equal would be allowed now.
  assert.deepEqual([report.replayed, report.changed], [3, 2]);
});

const OFFICE_HOURS = `
default allow := false
allow if {
  [hour, _, _] := time.clock(time.now_ns())
  hour >= input.open
}
`;

test('the clock says what it said then, and what was not asked then is not asked now', async () => {
  await using policy = await open(OFFICE_HOURS);
  const early = await recordOf(policy, { open: 0 });
  const at = (ns: string): DecisionRecord => ({
    ...early,
    nd_builtin_cache: { 'time.now_ns': { '[]': Number(ns) } },
    input: { open: 12 },
  });
  const noon = String(12 * 3600e9);
  const report = await run([early, at(noon), at(String(11 * 3600e9))], policy);
  assert.deepEqual([report.replayed, report.changed], [3, 1]);
  await using random = await open('default allow := false\nallow if rand.intn("x", 10) >= 0');
  const other = await run([early], random);
  assert.deepEqual([other.replayed, other.changed], [0, 0]);
  assert.deepEqual(other.reasons, [{ missing: 'the answer of rand.intn', count: 1 }]);
});

test('headers, status and failures are part of the answer', async () => {
  const rules = (status: number, tier: string): string => `
decision := {"allowed": true, "headers": {"x-tier": "${tier}"}} if input.method == "GET"
decision := {"allowed": false, "http_status": ${status}} if input.method == "PUT"
decision := 7 if input.method == "BREW"
`;
  await using before = await open(rules(401, 'gold'), 'envoy/authz/decision');
  await using after = await open(
    `${rules(404, 'iron')}\ndecision := {"allowed": false} if input.method == "PATCH"`,
    'envoy/authz/decision',
  );
  const records = await Promise.all(
    ['GET', 'PUT', 'BREW', 'PATCH', 'HEAD'].map((method) => recordOf(before, { method }, { svidgate: { method } })),
  );
  const { changes } = await run(records, after);
  assert.deepEqual(
    changes.map(({ method, change, before: was, after: is }) => [method, change, was, is]),
    [
      ['GET', 'other_effects', 'allow', 'allow'],
      ['PUT', 'other_effects', 'deny 401', 'deny 404'],
      ['PATCH', 'failed_before', 'failure undefined_decision', 'deny'],
    ],
  );
  const masked = records.map((record) => ({ ...record, masked: ['/result/headers/x-tier'] }));
  const report = await run(masked.slice(0, 2), after);
  assert.deepEqual([report.changed, report.effectsUnknown], [0, 2]);
});
