/** What `data.system.log` of a policy does to the records of its decisions. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CheckRequestInit } from '../../src/proto/index.ts';
import { get, logOf, type Log } from '../support/decision-log.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor, startTestServer } from '../support/server.ts';

const RULED = `package envoy.authz

allow if {
	input.attributes.request.http.method
	input.parsed_path
	input.attributes.request.http.headers["user-agent"]
}
`;

describe('data.system.log of a policy', () => {
  const rulesOf = async (rules: string, asked: readonly CheckRequestInit[]): Promise<Log> => {
    await using server = await startTestServer({
      entries: entriesFor('/caller'),
      config:
        'authz:\n  listen: unix:./authz.sock\n  eval_timeout: 5s\n  policies:\n    default: { path: ./policy }\ndecision_log: {}\n',
      files: { 'policy/authz.rego': RULED, 'policy/log.rego': rules },
    });
    {
      using client = connect(server.gate);
      for (const each of asked) await client.check(each);
    }
    return await logOf(server);
  };
  const one = get('/orders/1', { 'user-agent': 'curl/8' });

  test('removes and replaces, and the record says what', async () => {
    const { records } = await rulesOf(
      `# What OPA has in its documentation.
package system.log

mask contains "/input/attributes/request/http/headers/user-agent"
mask contains "/input/nothing/here"
mask contains {"op": "upsert", "path": "/input/parsed_path/1", "value": "**"}
mask contains {"op": "upsert", "path": "/result", "value": "seen"} if input.result == true
`,
      [one],
    );
    const [record] = records;
    assert.deepEqual(record?.input, {
      attributes: { request: { http: { method: 'GET', headers: {} } } },
      parsed_path: ['orders', '**'],
    });
    assert.equal(record?.result, 'seen');
    assert.deepEqual(record?.erased, ['/input/attributes/request/http/headers/user-agent']);
    assert.deepEqual(record?.masked?.toSorted(), ['/input/parsed_path/1', '/result']);
    assert.equal(record?.svidgate.replayable, false);
  });

  test('drops, and the number is in the log', async () => {
    const rules = 'package system.log\n\ndrop if input.input.parsed_path[0] == "health"\n';
    const { records, losses } = await rulesOf(rules, [one, get('/health', { 'user-agent': 'x' }), one]);
    assert.deepEqual([records.length, losses.get('sampled')?.records], [2, 1]);
    assert.ok(records.every(({ svidgate }) => svidgate.replayable));
  });

  const broken: Readonly<Record<string, string>> = {
    'another type': 'mask := "/input"',
    'a path of another place': 'mask contains "/svidgate"',
    'an operation that is none': 'mask contains {"op": "hide", "path": "/input"}',
    'a conflict': 'mask := x if some x in [{"/input/a"}, {"/input/b"}]',
    'an endless loop':
      'mask contains "/input/a" if count([1 | some a in numbers.range(1, 20000); some b in numbers.range(1, 20000); a * b == 0]) == 0',
  };
  for (const [what, rule] of Object.entries(broken)) {
    test(`that fails by ${what} erases everything, and loses nothing`, async () => {
      const { records } = await rulesOf(`package system.log\n\n${rule}\n`, [one]);
      const [record] = records;
      assert.equal(record?.svidgate.outcome, 'allow');
      assert.deepEqual([record?.input, record?.result], [undefined, undefined]);
      assert.deepEqual(record?.erased, ['/input', '/result']);
      assert.equal(record?.svidgate.replayable, false);
    });
  }

  test('whose drop fails drops nothing', async () => {
    const { records } = await rulesOf('package system.log\n\ndrop := "yes"\n', [one]);
    assert.deepEqual([records.length, records[0]?.result], [1, true]);
  });
});
