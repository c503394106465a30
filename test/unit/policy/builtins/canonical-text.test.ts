import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalText } from '../../../../src/policy/builtins/canonical-text.ts';

test('members of objects and sets are in order, lists are as they were', () => {
  for (const [text, canonical] of [
    ['["b","a"]', '["b", "a"]'],
    ['[{"b": 1, "a": [2,  1]}]', '[{"a": [2, 1], "b": 1}]'],
    ['[{3, 1, 2},set()]', '[{1, 2, 3}, set()]'],
    ['[{"a": {"y", "x"}, {1: 2}: null}]', '[{"a": {"x", "y"}, {1: 2}: null}]'],
    ['[]', '[]'],
    ['["a\\"b, {", -1.5e3,true]', '["a\\"b, {", -1.5e3, true]'],
  ] as const) {
    assert.equal(canonicalText(text), canonical);
  }
});

test('equal values have equal texts in whatever order their members are', () => {
  const shuffled = (value: unknown, random: () => number): unknown => {
    if (Array.isArray(value)) return value.map((each) => shuffled(each, random));
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([key, below]) => [key, shuffled(below, random)] as const);
    return Object.fromEntries(entries.toSorted(() => random() - 0.5));
  };
  fc.assert(
    fc.property(fc.jsonValue(), fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (value, stream) => {
      const random = (): number => stream.next().value as number;
      const text = JSON.stringify([value]);
      assert.equal(canonicalText(JSON.stringify([shuffled(value, random)])), canonicalText(text));
      assert.deepEqual(JSON.parse(canonicalText(text)), JSON.parse(text));
      assert.equal(canonicalText(canonicalText(text)), canonicalText(text));
    }),
  );
});

test('a text that is cut off is an error, and ends', () => {
  for (const text of ['[', '[1', '[1,', '["a', '[{"a": 1', '']) assert.throws(() => canonicalText(text), Error, text);
});
