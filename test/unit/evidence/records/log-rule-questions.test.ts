import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogRuleQuestions, type RuleQuestion } from '../../../../src/evidence/records/log-rule-questions.ts';

const EVENT = new Uint8Array(100);

test('rules that are slow delay no others, and take no more than their share', async () => {
  const sent: RuleQuestion[] = [];
  const questions = new LogRuleQuestions((question) => void sent.push(question));
  const slow = Array.from({ length: 2100 }, () => questions.ask(1, EVENT));
  assert.equal(sent.length, 4);
  const other = questions.ask(2, EVENT);
  assert.equal(sent.at(-1)?.rules, 2);
  questions.answer(sent.at(-1)?.id ?? -1, { kind: 'undefined' });
  assert.deepEqual(await other, { kind: 'undefined' });
  // Those beyond the share are told at once.
  for (const late of slow.slice(2052)) assert.deepEqual(await late, { kind: 'error' });
  for (let next = 0; next < sent.length; next += 1) {
    questions.answer(sent[next]?.id ?? -1, { kind: 'value', value: next });
  }
  const answers = await Promise.all(slow.slice(0, 2052));
  assert.ok(answers.every(({ kind }) => kind === 'value'));
});

test('at most 32 are asked at once, and each in its turn', () => {
  const sent: RuleQuestion[] = [];
  const questions = new LogRuleQuestions((question) => void sent.push(question));
  for (let rules = 1; rules <= 10; rules += 1) {
    for (let count = 0; count < 6; count += 1) void questions.ask(rules, EVENT);
  }
  assert.equal(sent.length, 32);
  for (let next = 0; next < 60; next += 1) {
    questions.answer(sent[next]?.id ?? -1, { kind: 'undefined' });
    const open = sent.slice(next + 1);
    assert.ok(open.length <= 32);
    for (let rules = 1; rules <= 10; rules += 1) {
      assert.ok(open.filter((question) => question.rules === rules).length <= 4);
    }
  }
  assert.equal(new Set(sent.map(({ id }) => id)).size, 60);
});

test('what waits has a bound in bytes', async () => {
  const questions = new LogRuleQuestions(() => undefined);
  const large = new Uint8Array(2 ** 20);
  const asked = Array.from({ length: 21 }, () => questions.ask(1, large));
  assert.deepEqual(await asked[20], { kind: 'error' });
});
