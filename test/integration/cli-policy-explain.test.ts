/** `svidgate policy explain|watch` as they are run and read by people. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { createPolicySnapshots, openDataDirectory } from '../../src/datastore/index.ts';
import { encodeSnapshot } from '../../src/policy/activation/kept-snapshot.ts';
import { readSnapshot } from '../../src/policy/snapshot.ts';
import { svidgate } from '../support/cli.ts';
import { input, POLICY, policyScene as scene } from '../support/policy-scene.ts';
import { recordLine, type LineParts } from '../support/record-line.ts';
import { cli } from '../support/run-cli.ts';
import { waitUntil } from '../support/wait-until.ts';

describe('policy explain', () => {
  const record = (id: string, parts: LineParts): string => `${recordLine(id, { req_id: 1, ...parts })}\n`;
  const denied = { outcome: 'deny', reason: 'policy_denied', method: 'PUT' } as const;

  test('says what was missing for an allow, and what it met', async () => {
    await using its = await scene();
    const { digest } = await readSnapshot(its.policy);
    const log = await its.write(
      'log.jsonl',
      record('d-1', { input: input('PUT'), result: false, svidgate: { ...denied, policy_digest: digest } }),
    );
    const explained = await cli('policy', 'explain', 'd-1', '--from', log, '--policy', its.policy);
    assert.deepEqual([explained.code, explained.err], [0, '']);
    assert.equal(
      explained.out,
      `d-1 at 2026-11-22T10:00:00.000000001Z: deny, policy_denied
PUT orders.test/orders/* of spiffe://example.test/web

no rule allowed it

envoy.authz.allow (readers), ${its.policy}/authz.rego:7, allows it with one thing otherwise:
  ${its.policy}/authz.rego:11: request.method == "GET"   must hold
      request.method = "PUT"
`,
    );
  });

  test('says which rule allowed', async () => {
    await using its = await scene();
    const log = await its.write('log.jsonl', record('d-1', { input: input('GET') }));
    const { out } = await cli('policy', 'explain', 'd-1', '--from', log, '--policy', its.policy);
    assert.match(
      out,
      /allowed by envoy\.authz\.allow \(readers\), .*authz\.rego:7\n {6}reader = "spiffe:\/\/prod\.acme\.test\/web"\n {2}without this rule it is not allowed\n$/,
    );
  });

  test('takes the files that decided, also where others are in force, and says otherwise that it could not', async () => {
    await using its = await scene();
    const snapshot = await readSnapshot(its.policy);
    const config = await its.write(
      'svidgate.yaml',
      'trust_domain: prod.acme.test\ndata_dir: ./data\nauthz:\n  policies:\n    default: { path: ./policy, entrypoint: envoy/authz/allow }\n',
    );
    const directory = await openDataDirectory(its.file('data'));
    await createPolicySnapshots(directory, { policies: ['default'] }).save(
      'default',
      snapshot.digest,
      encodeSnapshot(snapshot),
    );
    await directory.close();
    await mkdir(its.file('data/decisions'));
    const put = { input: input('PUT'), result: false };
    await its.write(
      'data/decisions/decisions-0000000001.jsonl',
      record('d-1', { ...put, svidgate: { ...denied, policy_digest: snapshot.digest } }) +
        record('d-2', { ...put, svidgate: { ...denied, policy_digest: 'ab'.repeat(32) } }),
    );
    await its.write('policy/authz.rego', POLICY.replace('"GET"', '"PUT"'));
    const then = await cli('policy', 'explain', 'd-1', '--config', config);
    assert.match(then.out, /authz\.rego:11: request\.method == "GET" {3}must hold/);
    assert.doesNotMatch(then.out, /note:/);
    const now = await cli('policy', 'explain', 'd-2', '--config', config);
    assert.match(now.out, /note: the policy is another one: [0-9a-f]{12}, and abababababab decided\n/);
    assert.match(now.out, /note: the policy answered deny then, and answers allow to what the record has\n/);
  });

  test('says which values the record does not have', async () => {
    await using its = await scene(POLICY.replace('request.method == "GET"', 'request.headers.cookie == "secret"'));
    const pointer = '/input/attributes/request/http/headers/cookie';
    const log = await its.write(
      'log.jsonl',
      record('d-1', {
        input: input('GET'),
        result: false,
        erased: [pointer],
        svidgate: { ...denied, replayable: false, unreplayable: [pointer] },
      }),
    );
    const { out } = await cli('policy', 'explain', 'd-1', '--from', log, '--policy', its.policy);
    assert.match(out, /note: the record does not have all that the policy looked at: \/input\/.*\/cookie\n/);
    assert.match(out, / {6}request\.headers\.cookie = masked in the record\n/);
  });

  test('gives JSON', async () => {
    await using its = await scene();
    const log = await its.write('log.jsonl', record('d-1', { input: input('PUT'), result: false, svidgate: denied }));
    const { out } = await cli('policy', 'explain', 'd-1', '--from', log, '--policy', its.policy, '--output', 'json');
    const found = JSON.parse(out) as {
      readonly outcome: string;
      readonly nearest: readonly { readonly line: number }[];
    };
    assert.deepEqual([found.outcome, found.nearest.map(({ line }) => line)], ['deny', [7]]);
  });

  test('of a decision that is in no log, or that no policy made, says so', async () => {
    await using its = await scene();
    const { input: _, ...none } = JSON.parse(
      recordLine('d-1', { svidgate: { outcome: 'failure', reason: 'no_policy' } }),
    ) as Readonly<Record<string, unknown>>;
    const log = await its.write('log.jsonl', `${JSON.stringify(none)}\n`);
    const missing = await cli('policy', 'explain', 'd-7', '--from', log, '--policy', its.policy);
    assert.equal(missing.code, 1);
    assert.match(missing.err, /^svidgate: no decision d-7 in .*log\.jsonl \(not_found\)/);
    const undecided = await cli('policy', 'explain', 'd-1', '--from', log, '--policy', its.policy);
    assert.equal(undecided.code, 1);
    assert.match(undecided.err, /no policy was asked for decision d-1: failure, no_policy/);
  });
});

describe('policy watch', () => {
  test('builds, checks, tests and replays after each change until it is interrupted', async () => {
    await using its = await scene();
    const log = await its.write(
      'log.jsonl',
      `${recordLine('d-1', { input: input('GET'), svidgate: { recorded: 'all' } })}\n`,
    );
    await using watch = svidgate('policy', 'watch', its.policy, '--from', log, '--output', 'json');
    const rounds = (): readonly Round[] =>
      watch.output.out
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Round);
    const round = async (count: number): Promise<Round> =>
      await waitUntil(`round ${count}: ${watch.output.err}`, 60_000, () => rounds()[count - 1]);
    const first = await round(1);
    assert.deepEqual([first.ok, first.problems, first.tests?.passed, first.replay?.changed], [true, [], 2, 0]);

    await its.write('policy/authz.rego', POLICY.replace('"GET"', '"POST"'));
    const second = await round(2);
    assert.deepEqual([second.ok, second.tests?.failed, second.replay?.changed], [false, 1, 1]);

    await its.write('policy/authz.rego', 'package envoy.authz\n\nallow if {\n');
    const third = await round(3);
    assert.deepEqual([third.ok, third.problems[0]?.line, third.tests], [false, 4, undefined]);

    await its.write('policy/authz.rego', POLICY);
    assert.equal((await round(4)).ok, true);
    watch.child.kill('SIGINT');
    assert.equal(await watch.ended, 0);
    assert.equal(rounds().length, 4);
  });
});

test('policy test --watch runs the tests again when they change, and not for other files', async () => {
  await using its = await scene();
  await using watch = svidgate('policy', 'test', its.policy, '--watch');
  const until = (what: string, lines: number): Promise<unknown> =>
    waitUntil(what, 60_000, () => watch.output.out.split('\n').length > lines);
  await until('the first run', 1);
  await its.write('policy/notes.txt', 'nothing');
  await its.write('policy/more_test.rego', 'package more_test\n\ntest_it if false\n');
  await until('the second run', 3);
  watch.child.kill('SIGTERM');
  assert.equal(await watch.ended, 0);
  assert.equal(
    watch.output.out,
    `2 passed, 0 failed\n${its.policy}/more_test.rego:3: fail: data.more_test.test_it\n2 passed, 1 failed\n`,
  );
  assert.equal(watch.output.err, '1 test fails\n');
});

interface Round {
  readonly ok: boolean;
  readonly duration_ms: number;
  readonly problems: readonly { readonly line: number }[];
  readonly tests?: { readonly passed: number; readonly failed: number };
  readonly replay?: { readonly changed: number };
}
