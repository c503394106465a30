import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHint } from '../../../src/spiffe/index.ts';

test('a hint is text of 1 to 1024 bytes without control characters', () => {
  for (const text of ['internal', 'für außen', 'x'.repeat(1024), 'ü'.repeat(512), ' ']) {
    assert.equal(parseHint(text), text);
  }
  for (const [text, message] of [
    ['', 'a hint is not empty'],
    ['x'.repeat(1025), 'a hint has at most 1024 bytes'],
    ['ü'.repeat(513), 'a hint has at most 1024 bytes'],
    ['a\nb', 'a hint has no control characters'],
    ['a\0', 'a hint has no control characters'],
    ['\u009b2J', 'a hint has no control characters'],
  ] as const) {
    assert.throws(() => parseHint(text), { code: 'invalid_request', message });
  }
});
