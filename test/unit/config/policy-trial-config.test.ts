import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig, type PolicyConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate.yaml';

const textOf = (policies: string): string => `trust_domain: td.test\nauthz:\n  policies: { ${policies} }\n`;

function policiesOf(policies: string): ReadonlyMap<string, PolicyConfig> {
  const { value, mistakes } = parseConfig(textOf(policies), FILE);
  assert.ok(value?.authz, mistakes?.map(formatMistake).join('\n'));
  return value.authz.policies;
}

function mistakesOf(policies: string): string[] {
  return (parseConfig(textOf(policies), FILE).mistakes ?? []).map((mistake) =>
    formatMistake(mistake).slice(FILE.length),
  );
}

test('candidates name the policy that they are tried beside, of which there may be several', () => {
  const policies = policiesOf(`default: { path: a }, one: { path: b, shadow_of: default },
    two: { path: c, shadow_of: billing }, billing: { path: d, unenforced: { until: 2026-12-31T00:00:00Z } }`);
  assert.deepEqual(
    [...policies.values()].map(({ path: _path, entrypoint: _entrypoint, ...trial }) => trial),
    [{}, { shadowOf: 'default' }, { shadowOf: 'billing' }, { unenforcedUntil: Date.UTC(2026, 11, 31) }],
  );
});

test('a time has its zone', () => {
  const until = (text: string): number | undefined =>
    policiesOf(`default: { path: a, unenforced: { until: ${text} } }`).get('default')?.unenforcedUntil;
  assert.equal(until('2026-12-31T02:00:00+02:00'), Date.UTC(2026, 11, 31));
  assert.equal(until('2026-12-30T19:30:00-04:30'), Date.UTC(2026, 11, 31));
  assert.equal(until('2028-02-29T00:00:00Z'), Date.UTC(2028, 1, 29));
  for (const wrong of [
    '2026-12-31',
    '2026-12-31T00:00:00',
    '2026-12-31 00:00:00Z',
    '2026-02-30T00:00:00Z',
    '2026-12-31T24:30:00Z',
    '2026-12-31T00:00:00+25:00',
    'tomorrow',
    '30d',
    '""',
  ]) {
    assert.match(
      mistakesOf(`default: { path: a, unenforced: { until: ${wrong} } }`).join(),
      /^:3:\d+: `authz\.policies\.default\.unenforced\.until` is .*expected a time with its zone/,
      wrong,
    );
  }
});

const WRONG: readonly (readonly [policies: string, mistake: RegExp])[] = [
  ['default: { path: a }, one: { path: b, shadow_of: nobody }', /:3:\d+: there is no policy `nobody`: name one of/],
  ['default: { path: a }, one: { path: b, shadow_of: toString }', /there is no policy `toString`/],
  ['default: { path: a, shadow_of: default }', /policy `default` is a shadow of itself/],
  [
    'default: { path: a }, one: { path: b, shadow_of: default }, two: { path: c, shadow_of: one }',
    /policy `one` is a shadow itself: name `default`/,
  ],
  [
    'default: { path: a }, one: { path: b, shadow_of: default, unenforced: { until: 2026-12-31T00:00:00Z } }',
    /policy `one` has `shadow_of` and `unenforced`: a shadow never decides/,
  ],
  ['default: { path: a, unenforced: true }', /`authz\.policies\.default\.unenforced` is true/],
  ['default: { path: a, unenforced: {} }', /missing key `authz\.policies\.default\.unenforced\.until`/],
];

for (const [policies, mistake] of WRONG) {
  test(`${policies} is refused`, () => {
    const found = mistakesOf(policies);
    assert.equal(found.length, 1, found.join('\n'));
    assert.match(found[0] ?? '', mistake);
  });
}
