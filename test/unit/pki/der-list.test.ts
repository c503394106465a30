import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { splitDer } from '../../../src/pki/index.ts';

/** A SEQUENCE with this many bytes in it. */
function sequence(length: number): Uint8Array {
  const digits = length < 0x80 ? [length] : [0x82, length >> 8, length & 0xff];
  return Uint8Array.from([0x30, ...digits, ...new Uint8Array(length).fill(7)]);
}

function hexOf(parts: readonly Uint8Array[]): readonly string[] {
  return parts.map((part) => Buffer.from(part).toString('hex'));
}

describe('splitDer', () => {
  test('gives back what was put together', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2000 }), { maxLength: 5 }), (lengths) => {
        const parts = lengths.map(sequence);
        assert.deepEqual(hexOf(splitDer(Buffer.concat(parts))), hexOf(parts));
      }),
    );
  });

  const WRONG: readonly (readonly [string, readonly number[]])[] = [
    ['something else than a certificate', [0x31, 0]],
    ['a head without a length', [0x30]],
    ['an indefinite length', [0x30, 0x80, 0, 0]],
    ['a length of too many bytes', [0x30, 0x85, 0, 0, 0, 0, 1, 7]],
    ['a length that is cut', [0x30, 0x82, 1]],
    ['a certificate that is cut', [0x30, 5, 1, 2]],
    ['bytes after the last one', [...sequence(3), 0]],
  ];
  for (const [what, bytes] of WRONG) {
    test(`refuses ${what}`, () => {
      assert.throws(() => splitDer(Uint8Array.from(bytes)), { code: 'certificate_invalid' });
    });
  }

  test('takes any bytes or refuses them, and never gives more than there is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          assert.deepEqual(Buffer.concat(splitDer(bytes)), Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof SvidgateError, String(error));
        }
      }),
    );
  });
});
