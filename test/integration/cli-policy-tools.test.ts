/** `svidgate policy build|check|test|eval` as they are run and read by people. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { input, POLICY, policyScene as scene } from '../support/policy-scene.ts';
import { recordLine } from '../support/record-line.ts';
import { cli } from '../support/run-cli.ts';

describe('policy build', () => {
  test('writes a bundle, which other commands take in place of the folder', async () => {
    await using its = await scene();
    const out = its.file('b.tar.gz');
    const built = await cli('policy', 'build', its.policy, '-o', out, '--revision', 'v7');
    assert.match(built.out, new RegExp(`^${out}: \\d+ bytes, sha256 [0-9a-f]{64}\n$`));
    assert.deepEqual([built.code, built.err], [0, '']);
    const first = await readFile(out);
    await cli('policy', 'build', its.policy, '-o', out, '--revision', 'v7', '--output', 'json');
    assert.ok(first.equals(await readFile(out)), 'the bytes differ');
    const tested = await cli('policy', 'test', out);
    assert.deepEqual([tested.code, tested.out], [0, '2 passed, 0 failed\n']);
  });

  test('writes nothing of a policy that does not compile', async () => {
    await using its = await scene('package envoy.authz\n\nallow if nothing(1)\n');
    const built = await cli('policy', 'build', its.policy, '-o', its.file('b.tar.gz'));
    assert.deepEqual(built, {
      code: 1,
      out: `${its.policy}/authz.rego:3:10: error: undefined function nothing (rego_type_error)\n${its.policy} does not compile\n`,
      err: '',
    });
    await assert.rejects(readFile(its.file('b.tar.gz')));
  });
});

describe('policy check', () => {
  test('has nothing to say about a good policy', async () => {
    await using its = await scene();
    assert.deepEqual(await cli('policy', 'check', its.policy), {
      code: 0,
      out: `${its.policy}: nothing to say\n`,
      err: '',
    });
  });

  test('gives each mistake its place and a remedy', async () => {
    await using its = await scene(
      'package envoy.authz\n\nallow if input.attributes.request.http.verb == "GET"\n\nunused if true\n',
    );
    const checked = await cli('policy', 'check', its.policy);
    assert.equal(checked.code, 1);
    assert.equal(
      checked.out,
      `${its.policy}/authz.rego:3:1: warning: the entrypoint envoy/authz/allow is undefined where no rule holds (default_missing)
    Write \`default allow := false\`: an undefined decision is denied, but as a failure of the policy.
${its.policy}/authz.rego:3:10: error: input.attributes.request.http.verb is never there (input_unknown)
    There are: body, fragment, headerMap, headers, host, id, method, path, protocol, query, rawBody, scheme, size.
${its.policy}/authz.rego:5:1: warning: nothing that decides refers to envoy.authz.unused (rule_unreached)
    Remove it, or refer to it where it was meant to count.
${its.policy}: 1 error, 2 warnings
`,
    );
    const json = JSON.parse((await cli('policy', 'check', its.policy, '--output', 'json')).out) as {
      readonly ok: boolean;
      readonly problems: readonly { readonly code: string; readonly severity: string }[];
    };
    assert.equal(json.ok, false);
    assert.deepEqual(
      json.problems.map(({ code, severity }) => `${severity} ${code}`),
      ['warning default_missing', 'error input_unknown', 'warning rule_unreached'],
    );
  });

  test('fails for warnings with --strict', async () => {
    await using its = await scene(`${POLICY}\nunused if true\n`);
    assert.equal((await cli('policy', 'check', its.policy)).code, 0);
    const strict = await cli('policy', 'check', its.policy, '--strict');
    assert.equal(strict.code, 1);
    assert.match(strict.out, /:17:1: error: nothing that decides refers to envoy\.authz\.unused/);
  });

  test('names SPIFFE IDs that no entry issues, in Rego and in data', async () => {
    await using its = await scene(
      `${POLICY}\nallow if startswith(input.svidgate.peer.spiffe_id, "spiffe://prod.acme.test/ns/")\n\n` +
        'allow if input.svidgate.peer.spiffe_id == "spiffe://elsewhere.test/x"\n',
    );
    await its.write(
      'entries.yaml',
      'entries:\n  - spiffe_id: spiffe://prod.acme.test/orders\n    selectors: ["unix:uid:1"]\n',
    );
    const config = await its.write('svidgate.yaml', 'trust_domain: prod.acme.test\nentries: ./entries.yaml\n');
    const checked = await cli('policy', 'check', its.policy, '--config', config);
    assert.equal(checked.err, 'the server does not run: SPIFFE IDs are compared with its entries file alone\n');
    assert.equal(
      checked.out,
      `${its.policy}/authz.rego:17:52: warning: no entry issues a SPIFFE ID that begins with spiffe://prod.acme.test/ns/ (principal_unissued)
    Add an entry, or mend the name: nobody is this peer.
${its.policy}/data.yaml:1:12: warning: no entry issues spiffe://prod.acme.test/web (principal_unissued)
    Add an entry, or mend the name: nobody is this peer.
${its.policy}: 2 warnings
`,
    );
  });

  test('prints the schema of the input', async () => {
    const { out, code } = await cli('policy', 'check', '--schema');
    assert.equal(code, 0);
    assert.equal((JSON.parse(out) as { readonly title: string }).title, 'The input of a policy');
  });

  test('asks for a path', async () => {
    assert.deepEqual(await cli('policy', 'check'), {
      code: 2,
      out: '',
      err: 'svidgate: which policy? svidgate policy check PATH\n',
    });
  });
});

describe('policy test', () => {
  test('shows the lines that no test evaluates, and fails below the threshold', async () => {
    await using its = await scene(POLICY.replace('print("reader", reader)', 'not request.path == "/x"'));
    await its.write(
      'policy/other.rego',
      'package envoy.authz\n\nallow if {\n\tinput.svidgate.policy == "x"\n\trequest.host == "y"\n}\n',
    );
    const tested = await cli('policy', 'test', its.policy, '--threshold', '90');
    assert.equal(tested.code, 1);
    assert.equal(tested.err, '72.7 % of the lines are covered, less than 90 %\n');
    const [, ...lines] = tested.out.split('\n');
    assert.deepEqual(
      lines.map((line) => line.replace(`${its.policy}/`, '').replaceAll(/ +/g, ' ')),
      ['authz.rego 100 % -', 'other.rego 0 % 3-5', 'all 72.7 % -', '2 passed, 0 failed', ''],
    );
    assert.equal((await cli('policy', 'test', its.policy, '--threshold', '70')).code, 0);
  });

  test('gives failing tests with their places and what they printed', async () => {
    await using its = await scene();
    await its.write(
      'policy/more_test.rego',
      'package more_test\n\ntest_it if {\n\tprint("seen", 7)\n\t1 == 2\n}\n\ntest_cases[name] if {\n\tsome name, n in {"one": 1, "two": 2}\n\tn == 1\n}\n',
    );
    const tested = await cli('policy', 'test', its.policy, '--run', 'more_test');
    assert.equal(tested.code, 1);
    assert.equal(tested.err, '2 tests fail\n');
    assert.equal(
      tested.out,
      `${its.policy}/more_test.rego:3: fail: data.more_test.test_it
    seen 7
${its.policy}/more_test.rego:8: fail: data.more_test.test_cases
    case two
0 passed, 2 failed
`,
    );
  });

  test('fails where there is nothing to run', async () => {
    await using its = await scene();
    const { code, err } = await cli('policy', 'test', its.policy, '--run', 'nothing_of_the_kind');
    assert.deepEqual([code, err], [1, 'there are no tests\n']);
  });
});

describe('policy eval', () => {
  test('prints the decision, and what print() wrote', async () => {
    await using its = await scene();
    const file = await its.write('input.json', JSON.stringify(input('GET')));
    assert.deepEqual(await cli('policy', 'eval', its.policy, '--input', file), {
      code: 0,
      out: 'allow\n',
      err: 'authz.rego:12: reader spiffe://prod.acme.test/web\n',
    });
    const denied = await its.write('denied.json', JSON.stringify(input('PUT')));
    assert.equal((await cli('policy', 'eval', its.policy, '--input', denied)).out, 'deny, policy_denied\n');
    const json = JSON.parse(
      (await cli('policy', 'eval', its.policy, '--input', denied, '--reference', '--output', 'json')).out,
    ) as Readonly<Record<string, unknown>>;
    assert.deepEqual([json['decision'], json['reason'], json['value']], ['deny', 'policy_denied', false]);
  });

  test('shows the whole of an object decision', async () => {
    await using its = await scene(
      'package envoy.authz\n\nallow := {"allowed": false, "http_status": 418, "body": "no"} if input.a == 9007199254740993\n',
    );
    const file = await its.write('input.json', '{"a": 9007199254740993}');
    const { out } = await cli('policy', 'eval', its.policy, '--input', file);
    assert.match(out, /^deny, wrong_type: `http_status` is 418/);
  });

  test('makes a recorded decision again, with the time of then', async () => {
    await using its = await scene('package envoy.authz\n\nallow if time.now_ns() == 1700000000000000123\n');
    const nd = { nd_builtin_cache: { 'time.now_ns': { '[]': 'TIME' } }, input: {} };
    const line = recordLine('d-1', nd).replace('"TIME"', '1700000000000000123');
    const log = await its.write('log.jsonl', `${line}\n`);
    const { out } = await cli('policy', 'eval', its.policy, '--decision', 'd-1', '--from', log);
    assert.equal(out, 'allow\n');
  });

  test('takes one input, and JSON alone', async () => {
    await using its = await scene();
    const { code, err } = await cli('policy', 'eval', its.policy);
    assert.deepEqual([code, err], [2, 'svidgate: which input? One of --input FILE and --decision ID\n']);
    const file = await its.write('input.json', '{');
    assert.equal((await cli('policy', 'eval', its.policy, '--input', file)).code, 2);
  });
});
