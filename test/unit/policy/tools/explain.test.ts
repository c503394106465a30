/** What `policy explain` says about decisions: each condition that it names turns the decision. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { systemClock } from '../../../../src/core/index.ts';
import { createPolicyTools, type FailedCondition, type PolicyExplanation } from '../../../../src/policy/index.ts';
import type { PolicyFiles } from '../../../../src/policy/rego-compiler.ts';
import { never } from '../support.ts';
import { generatedCase, type GeneratedCase } from './generated-policy.ts';

const tools = createPolicyTools({ clock: systemClock });
const NOW_NS = 1_755_555_555_000_000_000n;

async function explain(
  files: PolicyFiles,
  input: unknown,
  more: {
    readonly masked?: readonly string[];
    readonly nd?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  } = {},
): Promise<PolicyExplanation> {
  const { masked = [], nd = {} } = more;
  const question = { entrypoint: 'test/allow', input: JSON.stringify(input), nowNs: NOW_NS, nd, masked, signal: never };
  const explained = await tools.explain(files, question);
  assert.ok(explained.kind === 'explained', JSON.stringify(explained));
  return explained.explanation;
}

function policy(rego: string, data = '{}'): PolicyFiles {
  return { modules: { 'test.rego': rego }, data: { 'data.json': data } };
}

const named = ({ nearest = [] }: PolicyExplanation): unknown =>
  nearest.map(({ line, conditions }) => [line, ...conditions.map((one) => `${one.taken} ${one.line} ${one.text}`)]);

const TABLE = policy(
  `package test

default allow := false

# METADATA
# title: the table
allow if {
	not is_odd
	some row in data.rows
	peer in row.from
	input.method in row.methods
}

# METADATA
# title: administrators
allow if "admin" in input.groups

peer := input.peer.id if input.peer.verified == true

is_odd if contains(input.path, "//")

is_odd if contains(input.path, ";")
`,
  '{"rows": [{"from": ["web"], "methods": ["GET"]}, {"from": ["ops"], "methods": ["GET", "PUT"]}]}',
);

const web = { verified: true, id: 'web' };

describe('a deny', () => {
  test('names the condition of the row that got farthest, and what it met', async () => {
    const found = await explain(TABLE, { peer: web, method: 'PUT', path: '/a', groups: [] });
    assert.equal(found.outcome, 'deny');
    assert.deepEqual(found.nearest?.[0], {
      rule: 'test.allow',
      title: 'the table',
      file: 'test.rego',
      line: 7,
      column: 1,
      conditions: [
        {
          taken: 'true',
          text: 'input.method in row.methods',
          rule: 'test.allow',
          title: 'the table',
          file: 'test.rego',
          line: 11,
          column: 2,
          values: [
            { name: 'input.method', value: '"PUT"' },
            { name: 'row.methods', value: '["GET"]' },
          ],
        },
      ],
    });
  });

  test('goes down to the rules that a condition asks for', async () => {
    const found = await explain(TABLE, { peer: { verified: false, id: 'web' }, method: 'GET', path: '/a;b' });
    assert.deepEqual(named(found), [
      [16, 'true 16 "admin" in input.groups'],
      [7, 'false 22 contains(input.path, ";")', 'true 18 input.peer.verified == true'],
    ]);
  });

  test('says why a value is undefined where no condition alone gives it one', async () => {
    const found = await explain(TABLE, { peer: { verified: false }, method: 'GET', path: '/a', groups: [] });
    const [condition] = found.nearest?.find(({ line }) => line === 7)?.conditions ?? [];
    assert.equal(condition?.text, 'peer in row.from');
    assert.deepEqual(condition.values, [
      { name: 'peer' },
      { name: 'input.peer.verified', value: 'false' },
      { name: 'input.peer.id' },
      { name: 'row.from', value: '["web"]' },
    ]);
  });

  test('of an object comes from the rule that its `allowed` is', async () => {
    const files = policy(
      'package test\n\nallow := {"allowed": ok}\n\ndefault ok := false\n\nok if count(violations) == 0\n\n' +
        'violations contains "user" if input.user != "ann"\n\nviolations contains msg if {\n\tsome h in input.h\n\tmsg := h\n}\n',
    );
    const found = await explain(files, { user: 'bob', h: ['x'] });
    assert.deepEqual(named(found), [[3, 'false 9 input.user != "ann"', 'false 11 some h in input.h; msg := h']]);
  });

  test('names nothing where nothing that is in the policy would turn it', async () => {
    const found = await explain(policy('package test\n\ndefault allow := false\n'), {});
    assert.equal(found.outcome, 'deny');
    assert.equal(found.nearest, undefined);
  });

  test('says which values the record does not have, also by another name', async () => {
    const files = policy(
      'package test\n\ndefault allow := false\n\nallow if headers.cookie == "a"\n\nheaders := input.request.headers\n',
    );
    const found = await explain(files, { request: { headers: {} } }, { masked: ['/request/headers/cookie'] });
    assert.deepEqual(found.nearest?.[0]?.conditions[0]?.values, [{ name: 'headers.cookie', masked: true }]);
  });
});

describe('an allow', () => {
  test('names the rule, its variables, and whether it is the only one', async () => {
    const input = { peer: { verified: true, id: 'ops' }, method: 'PUT', path: '/a' };
    assert.deepEqual((await explain(TABLE, input)).allowed, [
      {
        rule: 'test.allow',
        title: 'the table',
        file: 'test.rego',
        line: 7,
        column: 1,
        alone: true,
        values: [{ name: 'row', value: '{"from": ["ops"], "methods": ["GET", "PUT"]}' }],
      },
    ]);
    const both = await explain(TABLE, { ...input, groups: ['admin'] });
    assert.deepEqual(
      both.allowed?.map(({ alone }) => alone),
      [false],
    );
  });

  test('is made again with the time and the answers of then', async () => {
    const files = policy(
      'package test\n\nallow if {\n\ttime.now_ns() == 1700000000000000123\n\trand.intn("dice", 6) == 4\n}\n',
    );
    const nd = { 'time.now_ns': { '[]': '1700000000000000123' }, 'rand.intn': { '["dice", 6]': '4' } };
    assert.equal((await explain(files, {}, { nd })).outcome, 'allow');
    assert.notEqual(
      (await explain(files, {}, { nd: { ...nd, 'rand.intn': { '["dice", 6]': '5' } } })).outcome,
      'allow',
    );
  });
});

test('of many rules the one that got farthest is found', async () => {
  const rules = Array.from(
    { length: 300 },
    (_, index) =>
      `allow if {\n\tinput.id == "s${index}"\n\tinput.method == "GET"\n\tstartswith(input.path, "/p${index}/")\n}\n`,
  );
  const files = policy(`package test\n\ndefault allow := false\n\n${rules.join('\n')}`);
  const found = await explain(files, { id: 's207', method: 'PUT', path: '/p207/x' });
  assert.deepEqual(
    found.nearest?.[0]?.conditions.map(({ text }) => text),
    ['input.method == "GET"'],
  );
  assert.equal(found.nearest?.[0]?.line, 5 + 207 * 6);
  assert.ok((found.notTried ?? 0) >= 276, String(found.notTried));
});

/** The policy with a condition taken as the explanation says, by changing its text alone. */
function change(rego: string, conditions: readonly FailedCondition[]): string {
  const lines = rego.split('\n');
  for (const { taken, line } of conditions) {
    lines[line - 1] = taken === 'true' ? '\ttrue' : `${lines[line - 1]}\n\tfalse`;
  }
  return lines.join('\n');
}

async function allows({ rego, data, input }: GeneratedCase): Promise<boolean> {
  const question = { entrypoint: 'test/allow', input, nowNs: NOW_NS, signal: never };
  const answer = await tools.evaluate(policy(rego, data), question);
  return answer.kind === 'value' && answer.json === 'true';
}

test('whatever the policy and the request, the conditions that are named turn the decision, and no fewer of them', async () => {
  let denied = 0;
  await fc.assert(
    fc.asyncProperty(generatedCase, async (generated) => {
      const { rego, data, input } = generated;
      const found = await explain(policy(rego, data), JSON.parse(input));
      const isAllowed = await allows(generated);
      assert.equal(found.outcome, isAllowed ? 'allow' : 'deny');
      if (isAllowed) return;
      denied += 1;
      assert.ok((found.nearest ?? []).length > 0, 'nothing was found');
      for (const { conditions } of found.nearest ?? []) {
        assert.ok(await allows({ ...generated, rego: change(rego, conditions) }), JSON.stringify(conditions));
        if (conditions.length === 1) continue;
        for (const left of conditions) {
          const fewer = conditions.filter((one) => one !== left);
          assert.ok(!(await allows({ ...generated, rego: change(rego, fewer) })), `without ${JSON.stringify(left)}`);
        }
      }
    }),
    { numRuns: 20 },
  );
  assert.ok(denied >= 3, `${denied} were denied`);
});
