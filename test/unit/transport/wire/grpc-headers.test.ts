import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { percentEncode } from '../../../../src/transport/wire/grpc-status.ts';
import { parseGrpcTimeout } from '../../../../src/transport/wire/grpc-timeout.ts';

test('a time-out has at most eight digits and a unit', () => {
  const cases: readonly (readonly [text: string, ms: number | undefined])[] = [
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3000],
    ['200m', 200],
    ['1500u', 1.5],
    ['2000000n', 2],
    ['0m', 0],
    ['99999999H', 99_999_999 * 3_600_000],
    ['123456789m', undefined],
    ['m', undefined],
    ['', undefined],
    ['5', undefined],
    ['5x', undefined],
    ['-5m', undefined],
    ['5.5m', undefined],
    [' 5m', undefined],
    ['5m ', undefined],
    ['5 m', undefined],
    ['5m, 5m', undefined],
    ['٣m', undefined],
    ['5constructor', undefined],
  ];
  for (const [text, ms] of cases) assert.equal(parseGrpcTimeout(text), ms, text);
});

test('a status message is printable ASCII, and is read back as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const encoded = percentEncode(text);
      assert.match(encoded, /^[ -~]*$/);
      assert.equal(decodeURIComponent(encoded), text);
    }),
  );
  assert.equal(percentEncode('100% of it, ~\n'), '100%25 of it, ~%0A');
});
