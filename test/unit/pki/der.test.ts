import assert from 'node:assert/strict';
import { test } from 'node:test';
import { octetString } from '../../../src/pki/der.ts';

// X.690 §8.1.3 and §10.1: the definite form, in as few bytes as it takes.
const LENGTHS = [
  { length: 0, header: '0400' },
  { length: 0x7f, header: '047f' },
  { length: 0x80, header: '048180' },
  { length: 0xff, header: '0481ff' },
  { length: 0x100, header: '04820100' },
  { length: 0xffff, header: '0482ffff' },
  { length: 0x10000, header: '0483010000' },
  { length: 0xffffff, header: '0483ffffff' },
  { length: 0x1000000, header: '048401000000' },
] as const;

for (const { length, header } of LENGTHS) {
  test(`a length of ${length} takes as few bytes as it can`, () => {
    const element = octetString(new Uint8Array(length));
    assert.equal(element.subarray(0, element.length - length).toString('hex'), header);
  });
}
