import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isAtLeast } from '../../../tools/setup/find-tools.mjs';

describe('isAtLeast', () => {
  const CASES: readonly [version: string, oldest: string, expected: boolean][] = [
    ['1.26.8', '1.26.0', true],
    ['1.26', '1.26.0', true],
    ['1.27', '1.26.5', true],
    ['2.0.0', '1.26.5', true],
    ['1.9.9', '1.26.0', false],
    ['1.26.0', '1.26.1', false],
    ['3.9.18', '3.10', false],
    ['3.14.0rc1', '3.10', true],
    ['', '3.10', false],
  ];
  for (const [version, oldest, expected] of CASES) {
    it(`${version === '' ? 'nothing' : version} is ${expected ? 'at least' : 'older than'} ${oldest}`, () => {
      assert.equal(isAtLeast(version, oldest), expected);
    });
  }
});
