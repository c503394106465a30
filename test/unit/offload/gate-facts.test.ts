import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig, type AuthzConfig } from '../../../src/config/index.ts';
import { gateFactsOf, mayAskAttested, offloadObstacle } from '../../../src/offload/index.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';

const WEB = parseSpiffeId('spiffe://td.test/web');
const EDGE = parseSpiffeId('spiffe://td.test/edge/one');

function authzOf(...lines: readonly string[]): AuthzConfig {
  const text = ['trust_domain: td.test', 'authz:', ...lines.map((line) => `  ${line}`), ''].join('\n');
  const { value, mistakes } = parseConfig(text, '/etc/svidgate.yaml');
  assert.ok(value?.authz, mistakes?.map(formatMistake).join('\n'));
  return value.authz;
}

const SOCKET = 'listen: unix:/run/gate.sock';

test('a shadow, a path guard and the lack of a socket each leave a policy to the call', () => {
  const on = '{ path: a, offload: on }';
  assert.equal(offloadObstacle(authzOf(SOCKET, `policies: { default: ${on} }`), 'default'), undefined);
  const shadowed = authzOf(SOCKET, `policies: { default: ${on}, other: ${on}, next: { path: b, shadow_of: default } }`);
  assert.match(offloadObstacle(shadowed, 'default') ?? '', /shadow next/);
  assert.equal(offloadObstacle(shadowed, 'other'), undefined);
  for (const guard of ['reject', 'normalize']) {
    const guarded = authzOf(SOCKET, `path_guard: ${guard}`, `policies: { default: ${on} }`);
    assert.match(offloadObstacle(guarded, 'default') ?? '', /path guard/);
  }
  assert.match(offloadObstacle(authzOf(`policies: { default: ${on} }`), 'default') ?? '', /Unix socket/);
});

test('only who may ask for a policy on an attested socket may have what is made of it', () => {
  const authz = authzOf(
    SOCKET,
    'callers: [{ spiffe_id: "spiffe://td.test/edge/**", policies: [default] }]',
    'listeners: { open: { listen: "127.0.0.1:1234", policies: [default, tcp] }, more: { listen: "unix:/run/more.sock", policies: [all] } }',
    'policies: { default: { path: a }, tcp: { path: a }, all: { path: a } }',
  );
  const table = [
    ['default', EDGE, true],
    ['default', WEB, false],
    ['tcp', EDGE, false],
    ['all', WEB, true],
    ['nobody', EDGE, false],
  ] as const;
  for (const [policy, id, expected] of table)
    assert.equal(mayAskAttested(authz, policy, [id]), expected, `${policy} ${id}`);
  assert.equal(mayAskAttested(authz, 'default', [WEB, EDGE]), true);
});

test('what stands before the policy is what the configuration says', () => {
  assert.deepEqual(gateFactsOf(authzOf(SOCKET)), {
    parsesBodies: true,
    tokenHeaders: [],
    hops: [],
    guardsPaths: false,
  });
  const facts = gateFactsOf(
    authzOf(
      SOCKET,
      'skip_request_body_parse: true',
      'path_guard: reject',
      'xfcc: { trusted: ["spiffe://td.test/edge/**"] }',
      'jwt_svid: { audiences: [a] }',
      'jwt_providers: { p: { issuer: "https://i.test", audiences: [a], jwks_file: /k.json, header: X-Token } }',
    ),
  );
  assert.deepEqual(
    [facts.parsesBodies, facts.guardsPaths, facts.tokenHeaders],
    [false, true, ['authorization', 'x-token']],
  );
  assert.deepEqual(facts.hops, [{ kind: 'beneath', prefix: 'spiffe://td.test/edge/' }]);
});
