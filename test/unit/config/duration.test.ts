import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatDuration, parseDuration } from '../../../src/config/index.ts';
import { SvidgateError } from '../../../src/core/index.ts';

test('a duration is the sum of its parts', () => {
  for (const [text, ms] of [
    ['24h', 86_400_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['100ms', 100],
    ['1s', 1000],
    ['1.1s', 1100],
    ['2m0.25s', 120_250],
    ['1h1m1s1ms', 3_661_001],
    ['0s', 0],
    ['876000h', 3_153_600_000_000],
  ] as const) {
    assert.equal(parseDuration(text), ms, text);
  }
});

test('another form is refused with what would be right', () => {
  const malformed = 'a duration is written such as 24h, 1h30m or 100ms';
  for (const [text, message] of [
    ['', malformed],
    ['5', malformed],
    ['-1h', malformed],
    ['1d', malformed],
    ['1 h', malformed],
    ['1H', malformed],
    ['30m1h', malformed],
    ['1h1h', malformed],
    ['.h', malformed],
    ['1.h', malformed],
    ['1.2.3s', malformed],
    ['1e3s', malformed],
    [`${'0'.repeat(50)}1s`, malformed],
    ['0.5ms', 'a duration is whole milliseconds'],
    ['876001h', 'a duration is at most 876000h (100 years)'],
  ] as const) {
    assert.throws(() => parseDuration(text), { code: 'config_invalid', message }, text);
  }
});

test('formatting is the inverse of parsing', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 3_153_600_000_000 }), (ms) => parseDuration(formatDuration(ms)) === ms),
  );
});

test('any text gives milliseconds or a SvidgateError', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[\d.]{0,5}(h|m|s|ms)?[\d.]{0,5}(h|m|s|ms)?$/));
  fc.assert(
    fc.property(text, (value) => {
      try {
        return Number.isSafeInteger(parseDuration(value));
      } catch (error) {
        return error instanceof SvidgateError;
      }
    }),
  );
});
