import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig, type AuthzConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate.yaml';

const parse = (authz: string) => parseConfig(`trust_domain: td.test\nauthz:\n  ${authz}\n`, FILE);

function authzOf(authz: string): AuthzConfig {
  const { value, mistakes } = parse(authz);
  assert.ok(value?.authz, mistakes?.map(formatMistake).join('\n'));
  return value.authz;
}

const mistakesOf = (authz: string): string[] =>
  (parse(authz).mistakes ?? []).map((mistake) => formatMistake(mistake).slice(FILE.length));

test('nothing is offloaded unless a policy says so, and nothing refused by Envoy unless that is said, too', () => {
  const { policies } = authzOf(
    'policies: { default: { path: a }, on: { path: b, offload: on }, deny: { path: c, offload: on, fast_deny: true }, no: { path: d, offload: off } }',
  );
  assert.deepEqual(
    [...policies].map(([name, { offload }]) => [name, offload]),
    [
      ['default', undefined],
      ['on', { fastDeny: false }],
      ['deny', { fastDeny: true }],
      ['no', undefined],
    ],
  );
});

test('the lease is ten seconds, and from one second to five minutes', () => {
  assert.equal(authzOf('policies: { default: { path: a } }').offloadLeaseMs, 10_000);
  assert.equal(authzOf('offload_lease: 1s').offloadLeaseMs, 1000);
  assert.equal(authzOf('offload_lease: 5m').offloadLeaseMs, 300_000);
  for (const wrong of ['0s', '999ms', '301s', 'never'])
    assert.match(mistakesOf(`offload_lease: ${wrong}`).join(), /:3:\d+: `authz\.offload_lease` is/, wrong);
});

const WRONG: readonly (readonly [policies: string, mistake: RegExp])[] = [
  ['default: { path: a, fast_deny: true }', /^:3:\d+: policy `default` has `fast_deny` without `offload: on`/],
  ['default: { path: a, offload: off, fast_deny: true }', /policy `default` has `fast_deny` without `offload: on`/],
  ['default: { path: a }, s: { path: b, shadow_of: default, offload: on }', /policy `s` has `shadow_of` and `offload`/],
  [
    'default: { path: a, offload: on, unenforced: { until: 2026-12-31T00:00:00Z } }',
    /policy `default` has `unenforced` and `offload`/,
  ],
  ['default: { path: a, offload: yes }', /`authz\.policies\.default\.offload` is .*one of `off`, `on`/],
];

test('what could not mean anything is a mistake with its place', () => {
  for (const [policies, mistake] of WRONG) {
    const found = mistakesOf(`policies: { ${policies} }`);
    assert.equal(found.length, 1, found.join('\n'));
    assert.match(found.join(), mistake);
  }
});
