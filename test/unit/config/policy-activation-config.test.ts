import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig, type PolicyConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate.yaml';

function policyOf(keys: string, more = 'decision_log: {}'): PolicyConfig | undefined {
  const text = `trust_domain: td.test\nauthz:\n  policies: { default: { path: a${keys} } }\n${more}\n`;
  const { value, mistakes } = parseConfig(text, FILE);
  assert.ok(value?.authz, mistakes?.map((mistake) => formatMistake(mistake).slice(FILE.length)).join('\n'));
  return value.authz.policies.get('default');
}

test('the tests that are there must pass when nothing else is said', () => {
  assert.equal(policyOf('')?.tests, undefined);
  assert.equal(policyOf(', tests: when_present')?.tests, undefined);
  assert.equal(policyOf(', tests: required')?.tests, 'required');
  assert.equal(policyOf(', tests: off')?.tests, 'off');
});

test('recorded decisions are tried when that is asked for, and then none may change', () => {
  assert.equal(policyOf('')?.replay, undefined);
  assert.deepEqual(policyOf(', replay: {}')?.replay, { maxChanged: 0, records: 10_000 });
  assert.deepEqual(policyOf(', replay: { max_changed: 3, records: 500 }')?.replay, { maxChanged: 3, records: 500 });
});

const wrong: readonly (readonly [keys: string, mistake: RegExp, more?: string])[] = [
  [', tests: on', /^:3:\d+: .*`authz\.policies\.default\.tests`.*one of `when_present`, `required`, `off`/],
  [', replay: { max_changed: -1 }', /`authz\.policies\.default\.replay\.max_changed`/],
  [', replay: { records: 0 }', /`authz\.policies\.default\.replay\.records`/],
  [', replay: {}', /^:3:\d+: policy `default` has `replay`, and no decisions are recorded/, ''],
];
for (const [keys, mistake, more] of wrong) {
  test(`is a mistake: path: a${keys}`, () => {
    assert.throws(() => policyOf(keys, more), { message: mistake });
  });
}
