import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { findDnsNameOverlap, parseDnsName } from '../../../src/spiffe/index.ts';

const label63 = 'a'.repeat(63);

test('DNS names are taken, in lower case', () => {
  const longest = `${label63}.${label63}.${label63}.${'a'.repeat(61)}`;
  for (const [text, name = text] of [
    ['orders.acme.test'],
    ['Orders.ACME.test', 'orders.acme.test'],
    ['localhost'],
    ['*.acme.test'],
    ['*.test'],
    ['1.2.3.a4'],
    ['a-b--c.test'],
    ['xn--bcher-kva.test'],
    ['XN--BCHER-KVA.test', 'xn--bcher-kva.test'],
    ['*.xn--bcher-kva.test'],
    [longest],
  ] as const) {
    assert.equal(parseDnsName(text), name);
  }
});

test('what is no DNS name is refused, with the rule', () => {
  const longest = `${label63}.${label63}.${label63}.${'a'.repeat(61)}`;
  for (const [text, message] of [
    ['', 'a DNS name has no empty label'],
    ['.', 'a DNS name ends without a dot'],
    ['acme.test.', 'a DNS name ends without a dot'],
    ['.acme.test', 'a DNS name has no empty label'],
    ['a..test', 'a DNS name has no empty label'],
    [`${longest}a`, 'a DNS name has at most 253 characters'],
    [`a${label63}.test`, 'a label of a DNS name has at most 63 characters'],
    ['*', 'a wildcard is the whole first label, and the only one, such as *.acme.test'],
    ['*.', 'a DNS name has no empty label'],
    ['*.*.test', 'a wildcard is the whole first label, and the only one, such as *.acme.test'],
    ['a.*.test', 'a wildcard is the whole first label, and the only one, such as *.acme.test'],
    ['a*.test', 'a wildcard is the whole first label, and the only one, such as *.acme.test'],
    ['-a.test', 'a label of a DNS name neither starts nor ends with a hyphen'],
    ['a-.test', 'a label of a DNS name neither starts nor ends with a hyphen'],
    ['a_b.test', 'a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
    ['a b.test', 'a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
    [' a.test', 'a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
    ['a.test\n', 'a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
    ['a\0.test', 'a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
    ['bücher.test', 'a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
    // The Kelvin sign, which becomes k in lower case.
    ['\u212A.test', 'a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
    ['xn--a.test', '`xn--a` is not an A-label (RFC 5890)'],
    ['ab--c.test', '`ab--c` is not an A-label (RFC 5890)'],
    ['10.0.0.1', 'expected a DNS name, not an IP address: its last label has a letter'],
    ['::1', 'a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
  ] as const) {
    assert.throws(() => parseDnsName(text), { code: 'invalid_request', message }, JSON.stringify(text));
  }
});

test('a name that was taken is taken again as it is', () => {
  const piece = fc.constantFrom('a', 'B', '9', '-', '.', '*', 'xn--', 'bcher-kva', 'ü', '_', ' ');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      let name: string;
      try {
        name = parseDnsName(pieces.join(''));
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'invalid_request');
        return;
      }
      assert.equal(parseDnsName(name), name);
      assert.match(name, /^(?:\*\.)?[a-z0-9.-]+$/);
    }),
    { numRuns: 1000 },
  );
});

test('a wildcard overlaps with the names that differ from it in the first label', () => {
  for (const [names, overlap] of [
    [[], undefined],
    [['*.acme.test', 'acme.test'], undefined],
    [['*.acme.test', 'a.b.acme.test'], undefined],
    [['*.acme.test', '*.b.acme.test'], undefined],
    [['localhost', '*.acme.test'], undefined],
    [['a.acme.test', '*.acme.test'], { name: 'a.acme.test', wildcard: '*.acme.test' }],
    [['*.test', 'x.y', 'a.test'], { name: 'a.test', wildcard: '*.test' }],
  ] as const) {
    assert.deepEqual(findDnsNameOverlap(names), overlap, names.join(' '));
  }
});
