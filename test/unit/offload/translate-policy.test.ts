import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { systemClock } from '../../../src/core/index.ts';
import type { GateFacts, TranslatedPolicy } from '../../../src/offload/index.ts';
import { ENVOY_READINGS, offloadMatcher } from '../../../src/offload/model/match-offload.ts';
import { translatePolicy } from '../../../src/offload/translate/index.ts';
import { createRegoProgram } from '../../../src/policy/index.ts';

const program = createRegoProgram({ clock: systemClock, timeLimitMs: 120_000 });
const FACTS: GateFacts = { parsesBodies: true, tokenHeaders: ['authorization'], hops: [], guardsPaths: false };
const WEB = 'spiffe://a.test/web';
const GATEWAY = 'spiffe://a.test/gateway';
const HEAD = 'package envoy.authz\n\nhttp := input.attributes.request.http\n\n';

async function translate(
  rego: string,
  more: Partial<Parameters<typeof translatePolicy>[0]> = {},
): Promise<TranslatedPolicy> {
  const files = { modules: { 'authz.rego': HEAD + rego }, data: {} };
  return await translatePolicy({
    policy: 'default',
    snapshot: { files, tests: {}, digest: 'd' },
    entrypoint: 'envoy/authz/allow',
    program,
    gate: FACTS,
    signal: new AbortController().signal,
    ...more,
  });
}

interface Asked {
  readonly path?: string;
  readonly peer?: string;
  readonly headers?: readonly (readonly [string, string])[];
}

/** The same for all versions of Envoy. */
function decide({ policy, rules, outer }: TranslatedPolicy, asked: Asked): 'allowed' | 'refused' | 'asked' {
  const set = { policy, policyDigest: '', allow: rules, ...(outer === undefined ? {} : { outer }) };
  const { path = '/', peer, headers = [] } = asked;
  const answers = Object.values(ENVOY_READINGS).map((reading) => {
    const { allow, refused } = offloadMatcher(set)(
      {
        headers: [[':method', 'GET'], [':path', path], [':authority', 'a.test'], [':scheme', 'https'], ...headers],
        ...(peer === undefined ? {} : { peer: { uris: [peer], dnsNames: [], subject: '', isVerified: true } }),
        serverName: '',
      },
      reading,
    );
    return allow !== undefined ? 'allowed' : refused ? 'refused' : 'asked';
  });
  assert.equal(new Set(answers).size, 1, `versions differ: ${JSON.stringify(asked)}`);
  return answers[0]!;
}

const PATHS = `default allow := false

allow if http.path == "/a"

allow if {
	http.path == "/b"
	input.svidgate.peer.spiffe_id in {"${WEB}", "${GATEWAY}"}
}
`;

describe('what the gate refuses before the policy is left to it', () => {
  test('paths, bodies, tokens, and what hops say of others', async () => {
    const all = `allow if input.svidgate.peer.spiffe_id in {"${WEB}", "${GATEWAY}"}`;
    const hops = [{ kind: 'exact', spiffeId: GATEWAY }] as unknown as GateFacts['hops'];
    const policy = await translate(all, { gate: { ...FACTS, hops } });
    assert.equal(decide(policy, { peer: WEB, path: '/x/y?z=%20&b' }), 'allowed');
    const many = `/?${'a&'.repeat(10_001)}`;
    for (const path of ['/%', '/%2f', '//x', '/a#b', '/?a;b', '/?a=%', '/?%zz', '*', '', '/é', many]) {
      assert.equal(
        decide(policy, { peer: WEB, path: Buffer.from(path).toString('latin1') }),
        'asked',
        path.slice(0, 9),
      );
    }
    const withHeader = (peer: string, ...header: [string, string][]): string =>
      decide(policy, { peer, headers: header });
    assert.equal(withHeader(WEB, ['content-type', 'text/plain']), 'allowed');
    for (const type of [
      'application/json',
      'x; multipart/form-data',
      'application/grpc-web',
      'application/x-www-form-urlencoded',
    ]) {
      assert.equal(withHeader(WEB, ['content-type', type]), 'asked');
      assert.equal(withHeader(WEB, ['content-type', 'a/b'], ['content-type', type]), 'asked');
    }
    assert.equal(withHeader(WEB, ['authorization', '']), 'asked');
    assert.equal(withHeader(WEB, ['x-forwarded-client-cert', 'x']), 'allowed');
    assert.equal(withHeader(GATEWAY), 'allowed');
    assert.equal(withHeader(GATEWAY, ['x-forwarded-client-cert', 'x']), 'asked');
  });

  test('a path guard offloads nothing', async () => {
    const policy = await translate(PATHS, { gate: { ...FACTS, guardsPaths: true } });
    assert.deepEqual(policy.rules, []);
    assert.deepEqual(
      policy.left.map(({ reason }) => reason),
      ['gate_guard'],
    );
  });
});

describe('rules of a policy', () => {
  test('they have the place of the Rego, and names that stand for their content', async () => {
    const [policy, again, other] = [
      await translate(PATHS, { fastDeny: true }),
      await translate(PATHS),
      await translate(PATHS.replace('/b', '/c')),
    ];
    assert.deepEqual(
      policy.rules.map(({ origin }) => origin.map(({ line }) => line)),
      [[7], [9]],
    );
    assert.match(policy.rules[0]!.id, /^default@[0-9a-f]{12}#1$/);
    assert.deepEqual(
      policy.rules.map(({ id }) => id),
      again.rules.map(({ id }) => id),
    );
    assert.notEqual(policy.rules[0]!.id, other.rules[0]!.id);
    assert.deepEqual(policy.ways, { all: 2, offloaded: 2 });
    assert.equal(decide(policy, { path: '/a' }), 'allowed');
    assert.equal(decide(policy, { path: '/b', peer: WEB }), 'allowed');
    assert.equal(decide(policy, { path: '/b' }), 'asked');
    assert.equal(decide(policy, { path: '/c' }), 'refused');
    assert.equal(decide(policy, { path: '/%61' }), 'asked');
  });

  test('the rows of the shipped table', async () => {
    const folder = new URL('../../../policies/rego/', import.meta.url);
    const modules = {
      'authz.rego': await readFile(new URL('authz.rego', folder), 'utf8'),
      'paths.rego': await readFile(new URL('paths.rego', folder), 'utf8'),
    };
    const row = {
      from: [WEB],
      to: ['spiffe://a.test/orders'],
      methods: ['GET'],
      paths: ['/orders', '/orders/*', '/x/**'],
    };
    const files = { modules, data: { 'data.json': JSON.stringify({ rules: [row] }) } };
    const policy = await translate('', { snapshot: { files, tests: {}, digest: 'd' } });
    assert.deepEqual(policy.left, []);
    assert.equal(policy.rules.length, 1);
    assert.deepEqual(policy.rules[0]!.caller, {
      kind: 'some_id',
      test: { kind: 'text', match: { kind: 'exact', text: 'spiffe://a.test/orders' } },
    });
    for (const path of ['/orders', '/orders?x', '/orders/1', '/x', '/x/', '/x/1/2']) {
      assert.equal(decide(policy, { path, peer: WEB }), 'allowed', path);
      assert.equal(decide(policy, { path, peer: GATEWAY }), 'asked', path);
    }
    for (const path of [
      '/orders/',
      '/orders/1/2',
      '/orderss',
      '/x/../orders',
      '/x//1',
      '/x;/1',
      '/x/.',
      '/x\\1',
      '/',
    ]) {
      assert.equal(decide(policy, { path, peer: WEB }), 'asked', path);
    }
  });

  test('an allow with more than `allowed`, and what may have two values, are left with their line', async () => {
    const effects = await translate(`allow := {"allowed": true, "headers": {"x": "y"}} if http.path == "/a"
allow := {"allowed": true} if http.method == "GET"`);
    assert.deepEqual(effects.rules, []);
    assert.deepEqual(
      effects.left.map(({ reason, line }) => [reason, line]),
      [['may_conflict', 6]],
    );
    const apart = await translate(`is_a if http.path == "/a"
allow := {"allowed": true, "headers": {"x": "y"}} if is_a
allow := {"allowed": true} if {
	not is_a
	http.method == "GET"
}`);
    assert.deepEqual(
      apart.left.map(({ reason }) => reason),
      ['has_effects'],
    );
    assert.equal(decide(apart, { path: '/b' }), 'allowed');
    assert.equal(decide(apart, { path: '/a' }), 'asked');
    const other = await translate(`allow if http.method == "GET"\nallow := false if http.path == "/a"`);
    assert.deepEqual(other.rules, []);
    assert.deepEqual(
      other.left.map(({ reason, line }) => [reason, line]),
      [['may_conflict', 6]],
    );
  });

  test('what is no policy is left as a whole', async () => {
    const policy = await translate('allow if nothing_of_the_kind(1)');
    assert.deepEqual([policy.rules, policy.left.map(({ reason }) => reason)], [[], ['not_evaluated']]);
  });
});
