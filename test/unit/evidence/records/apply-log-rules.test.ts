import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { applyLogRules } from '../../../../src/evidence/records/apply-log-rules.ts';
import type { DecisionRecord } from '../../../../src/evidence/records/decision-record.ts';
import { decisionRecord } from '../../../support/decision-records.ts';

function record(): DecisionRecord {
  return decisionRecord({
    input: { a: { b: 1, 'c/d': 2 }, list: [1, { x: 2 }, 3] },
    result: { allowed: true },
    nd_builtin_cache: { 'rand.intn': { '["a", 2]': 1 } },
    erased: ['/input/before'],
  });
}

function ruled(mask: unknown): DecisionRecord {
  const answer = applyLogRules(record(), { kind: 'value', value: { mask } });
  assert.ok(answer.kind === 'kept' && !answer.failed, JSON.stringify(answer));
  return answer.record;
}

const seen = ({ input, result, nd_builtin_cache: nd }: DecisionRecord): readonly unknown[] => [input, result, nd];

describe('rules about a record', () => {
  const untouched = seen(record());

  /** As OPA 1.19 masks: v1/plugins/logs/mask.go. */
  const cases: readonly { readonly rule: unknown; readonly gives: readonly unknown[]; readonly told: boolean }[] = [
    { rule: '/input/a/b', gives: [{ a: { 'c/d': 2 }, list: [1, { x: 2 }, 3] }, ...untouched.slice(1)], told: true },
    { rule: '/input/a/c~1d', gives: [{ a: { b: 1 }, list: [1, { x: 2 }, 3] }, ...untouched.slice(1)], told: true },
    { rule: { op: 'remove', path: '/input' }, gives: [undefined, ...untouched.slice(1)], told: true },
    { rule: '/input/list/1', gives: [{ a: { b: 1, 'c/d': 2 }, list: [1, 3] }, ...untouched.slice(1)], told: true },
    {
      rule: '/input/list/1/x',
      gives: [{ a: { b: 1, 'c/d': 2 }, list: [1, {}, 3] }, ...untouched.slice(1)],
      told: true,
    },
    { rule: '/input/list/3', gives: untouched, told: false },
    { rule: '/input/list/x', gives: untouched, told: false },
    { rule: '/input/a/b/c', gives: untouched, told: false },
    { rule: '/input/__proto__/x', gives: untouched, told: false },
    { rule: '/nd_builtin_cache/rand.intn', gives: [...untouched.slice(0, 2), {}], told: true },
  ];
  for (const { rule, gives, told } of cases) {
    test(`${JSON.stringify(rule)} ${told ? 'removes' : 'passes over what is not there'}`, () => {
      const after = ruled([rule]);
      assert.deepEqual(seen(after), gives);
      const pointer = typeof rule === 'string' ? rule : (rule as { readonly path: string }).path;
      assert.deepEqual(after.erased, told ? ['/input/before', pointer] : ['/input/before']);
      assert.equal(after.svidgate.replayable, !told);
    });
  }

  test('replace, and make what is missing on the way', () => {
    const after = ruled([
      { op: 'upsert', path: '/input/a/b', value: { c: [1] } },
      { op: 'upsert', path: '/input/new/one', value: 'x' },
      { op: 'upsert', path: '/input/list/0', value: null },
      { op: 'upsert', path: '/input/list/9', value: 'lost' },
      { op: 'upsert', path: '/result', value: 'seen' },
    ]);
    assert.deepEqual(after.input, {
      a: { b: { c: [1] }, 'c/d': 2 },
      list: [null, { x: 2 }, 3],
      new: { one: 'x' },
    });
    assert.equal(after.result, 'seen');
    assert.deepEqual(after.masked, ['/input/a/b', '/input/new/one', '/input/list/0', '/result']);
  });

  test('that touch the result alone leave it replayable', () => {
    assert.equal(ruled(['/result/allowed']).svidgate.replayable, true);
  });

  test('may be no rules at all', () => {
    assert.deepEqual(seen(ruled(undefined)), untouched);
    assert.deepEqual(seen(ruled([])), untouched);
    assert.deepEqual(applyLogRules(record(), { kind: 'undefined' }).kind, 'kept');
  });

  for (const mask of [
    null,
    '/input',
    {},
    ['input'],
    ['/labels'],
    ['/inputs'],
    [1],
    [{ path: '/input' }],
    [{ op: 'upsert' }],
  ]) {
    test(`that are ${JSON.stringify(mask)} erase everything`, () => {
      const answer = applyLogRules(record(), { kind: 'value', value: { mask } });
      assert.ok(answer.kind === 'kept' && answer.failed);
      assert.deepEqual(seen(answer.record), [undefined, undefined, undefined]);
      assert.deepEqual(answer.record.erased, ['/input/before', '/input', '/result', '/nd_builtin_cache']);
      assert.equal(answer.record.svidgate.replayable, false);
    });
  }

  test('drop, and nothing but true does', () => {
    const of = (drop: unknown): readonly unknown[] => {
      const answer = applyLogRules(record(), { kind: 'value', value: { drop } });
      return [answer.kind, answer.kind === 'kept' && answer.failed];
    };
    assert.deepEqual(of(true), ['dropped', false]);
    assert.deepEqual(
      [of(false), of(undefined)],
      [
        ['kept', false],
        ['kept', false],
      ],
    );
    assert.deepEqual(
      [of('true'), of(1), of(null)],
      [
        ['kept', true],
        ['kept', true],
        ['kept', true],
      ],
    );
  });
});
