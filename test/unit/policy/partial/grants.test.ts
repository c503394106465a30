import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../../src/core/index.ts';
import { createRegoProgram } from '../../../../src/policy/rego-program.ts';
import { evaluateGrants, type PolicyGrants } from '../../../../src/policy/index.ts';

const { signal } = new AbortController();
const program = createRegoProgram({ clock: systemClock, timeLimitMs: 120_000 });

async function open(rules: string, data = '{}'): Promise<PolicyGrants> {
  const files = { modules: { 'authz.rego': `package envoy.authz\n${rules}\n` }, data: { 'data.json': data } };
  const snapshot = { files, tests: {}, digest: rules };
  const list = await evaluateGrants({ snapshot, entrypoint: 'envoy/authz/allow', program, signal });
  return await list.open();
}

function matching(policy: PolicyGrants, input: object): Promise<readonly number[] | undefined> {
  return policy.matching(new TextEncoder().encode(JSON.stringify(input)));
}

const of = (spiffeId: string, method: string, path = '/'): object => ({
  svidgate: { peer: { verified: true, spiffe_id: spiffeId } },
  attributes: { request: { http: { method, path } } },
});

const TABLE = `
default allow := false

allow if {
	some row in data.rows
	input.svidgate.peer.spiffe_id in row.from
	input.attributes.request.http.method in row.methods
	startswith(input.attributes.request.http.path, row.prefix)
}

allow if input.attributes.request.http.path == "/health"
`;
const ROWS = JSON.stringify({
  rows: [
    { from: ['spiffe://a.test/web', 'spiffe://a.test/app'], methods: ['GET', 'PUT'], prefix: '/orders' },
    { from: ['spiffe://a.test/jobs'], methods: ['GET'], prefix: '/' },
  ],
});

test('each row of data, caller and method is a grant, and an input takes those that hold', async () => {
  await using policy = await open(TABLE, ROWS);
  assert.equal(policy.grants.length, 2 * 2 + 1 + 1);
  const taken = async (input: object): Promise<readonly string[]> =>
    ((await matching(policy, input)) ?? []).map((index) => policy.grants[index]!.text.replaceAll('\n', '; '));
  assert.deepEqual(await taken(of('spiffe://a.test/app', 'PUT', '/orders/1')), [
    'input.svidgate.peer.spiffe_id = "spiffe://a.test/app"; input.attributes.request.http.method = "PUT"; ' +
      'startswith(input.attributes.request.http.path, "/orders")',
  ]);
  assert.equal((await taken(of('spiffe://a.test/jobs', 'GET', '/health'))).length, 2);
  assert.deepEqual(await taken(of('spiffe://a.test/jobs', 'PUT')), []);
});

test('a grant knows the rules that it comes from', async () => {
  await using policy = await open(`
default allow := false

allow if { is_reader; input.attributes.request.http.method == "GET" }

is_reader if input.svidgate.peer.spiffe_id == "spiffe://a.test/web"
`);
  assert.deepEqual(policy.grants[0]?.rules, [
    { name: 'data.envoy.authz.allow', file: 'authz.rego', line: 5 },
    { name: 'data.envoy.authz.is_reader', file: 'authz.rego', line: 7 },
  ]);
});

const METHOD = 'input.attributes.request.http.method';
const ELSEWHERE: readonly (readonly [
  name: string,
  rules: string,
  allows: readonly string[],
  denies: readonly string[],
])[] = [
  [
    'else',
    `allow := true if ${METHOD} == "GET" else := false if ${METHOD} == "PUT" else := true`,
    ['GET', 'POST'],
    ['PUT'],
  ],
  ['an object', `allow := {"allowed": ${METHOD} == "GET", "headers": {"x": "y"}}`, ['GET'], ['PUT']],
  [
    'a default object',
    `default allow := {"allowed": false}\nallow := {"allowed": true} if ${METHOD} == "GET"`,
    ['GET'],
    ['PUT'],
  ],
  [
    'not',
    `default allow := false\nallow if not blocked\nblocked if ${METHOD} == "PUT"\nblocked if ${METHOD} == "POST"`,
    ['GET'],
    ['PUT', 'POST'],
  ],
  [
    'a function',
    `allow if is_safe(${METHOD})\nis_safe(x) if x == "GET"\nis_safe(x) if x == "HEAD"`,
    ['GET', 'HEAD'],
    ['PUT'],
  ],
  ['a function with else', `allow if f(${METHOD}) == 1\nf(x) := 2 if x == "PUT"\nelse := 1`, ['GET'], ['PUT']],
  ['every', `allow if { every x in ["P", "D"] { not startswith(${METHOD}, x) } }`, ['GET'], ['PUT', 'DELETE']],
  ['a set', `allow if count(reasons) == 0\nreasons contains "method" if ${METHOD} != "GET"`, ['GET'], ['PUT']],
  ['two wildcards', `allow if { [_, _, "T"] = [x | some x in split(${METHOD}, "")] }`, ['GET', 'PUT'], ['HEAD']],
  ['control characters', `allow if not contains(${METHOD}, "\\u0007\\u000b\\u007f")`, ['GET'], ['\u0007\u000b\u007f']],
];

test('whatever the form of a policy, what it allows takes a grant and what it denies does not', async () => {
  for (const [name, rules, allows, denies] of ELSEWHERE) {
    await using policy = await open(rules);
    for (const method of allows) assert.ok((await matching(policy, of('', method)))?.length, `${name}: ${method}`);
    for (const method of denies) assert.deepEqual(await matching(policy, of('', method)), [], `${name}: ${method}`);
  }
});

test('a policy that does not compile says why', async () => {
  await assert.rejects(open('allow if nonsense(input)'), {
    code: 'policy_invalid',
    message: /undefined function nonsense/,
  });
});
