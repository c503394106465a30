import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutstandingAnswers } from '../../../src/discovery/outstanding-answers.ts';

const resources = (count: number) => Array.from({ length: count }, (_, index) => ({ name: `n${index}`, version: 'v' }));

test('an answer is given once', () => {
  const answers = new OutstandingAnswers();
  answers.add('n1', resources(2), 10);
  assert.equal(answers.take('n2'), undefined);
  assert.deepEqual(answers.take('n1'), resources(2));
  assert.equal(answers.take('n1'), undefined);
});

test('the oldest are forgotten beyond the limit, the newest never is', () => {
  const answers = new OutstandingAnswers();
  for (let count = 1; count <= 1000; count += 1) answers.add(`n${count}`, resources(4), 20);
  assert.ok(answers.size <= 5, `${answers.size}`);
  assert.deepEqual(answers.take('n1000'), resources(4));
  answers.add('large', resources(100), 20);
  assert.equal(answers.take('large')?.length, 100);
  answers.add('empty', [], 20);
  assert.deepEqual(answers.take('empty'), []);
});
