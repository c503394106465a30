import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { guardTarget, isAmbiguous, normalizeTarget } from '../../../src/gate/path-guard.ts';

const ambiguous: readonly (readonly [target: string, normalized: string])[] = [
  ['/a/../b', '/b'],
  ['/a/./b', '/a/b'],
  ['/a/..', '/'],
  ['/a/b/..', '/a/'],
  ['/a/b/.', '/a/b/'],
  ['/../../a', '/a'],
  ['/..', '/'],
  ['/a/%2e%2e/b', '/b'],
  ['/a/.%2E/b', '/b'],
  ['/a/%2e/b', '/a/b'],
  ['//a', '/a'],
  ['/a//b///c//', '/a/b/c/'],
  ['/a//../b', '/a/b'],
  ['//..', '/'],
  ['/%2E%41%7e{%20/../%2e', '/'],
  ['/%41//%7e{%20', '/A/~%7B%20'],
  ['/a%2fb', '/a/b'],
  ['/a%2F..%2fb', '/b'],
  ['/a\\b', '/a/b'],
  ['/a%5c..%5Cb', '/b'],
  ['/public/..%2fprivate?x=/../y', '/private?x=/../y'],
];

for (const [target, normalized] of ambiguous) {
  test(`${target} is ambiguous, and ${normalized} when normalized`, () => {
    assert.equal(isAmbiguous(target), true);
    assert.equal(normalizeTarget(target), normalized);
  });
}

for (const target of [
  '/',
  '/a',
  '/a/',
  '/a.b/..c/d..',
  '/.../a',
  '/a?b=//&c=..',
  '/a?/../b',
  '*',
  '',
  '/a%252fb',
  '/%',
]) {
  test(`${target} is not ambiguous, and stays as it is`, () => {
    assert.equal(isAmbiguous(target), false);
    assert.equal(normalizeTarget(target), target);
  });
}

test('of nothing but slashes two stay, as in Envoy', () => {
  for (const target of ['//', '///', '/%2f', '/..//']) assert.equal(normalizeTarget(target), '//', target);
});

test('a bad escape stays for the parser to refuse, and makes no new one', () => {
  for (const target of ['/a/%2%65%2%65/b', '/a//%zz', '/%%2f', '/a/../%'])
    assert.equal(normalizeTarget(target), target);
});

test('a dot segment with a parameter is refused, and other parameters are for `reject`', () => {
  for (const target of ['/a/..;/b', '/a/.;x', '/..;', '/a\\..;x', '/a%2F%2e.;/b', '/a/..%3Bx/b']) {
    assert.equal(guardTarget(target, 'normalize'), 'refused', target);
    assert.equal(guardTarget(target, 'reject'), 'refused', target);
    assert.deepEqual(guardTarget(target, 'off'), {}, target);
  }
  for (const target of ['/a;x/b', '/...;/b', '/a..;/b']) {
    assert.deepEqual(guardTarget(target, 'normalize'), {}, target);
    assert.equal(guardTarget(target, 'reject'), 'refused', target);
  }
  assert.deepEqual(guardTarget('/a?b=/..;/c', 'reject'), {});
  assert.deepEqual(guardTarget('/a?b=/..;/c', 'normalize'), {});
  assert.deepEqual(guardTarget('/a/../b', 'normalize'), { seen: '/b' });
});

test('what is normalized is not ambiguous any more, and normalizing it again changes nothing', () => {
  const piece = fc.constantFrom(
    '/',
    '.',
    '..',
    '%2e',
    '%2E',
    '%2f',
    '%5C',
    '\\',
    'a',
    '?',
    '%25',
    '%',
    '%252f',
    '&',
    '%41',
    '{',
  );
  fc.assert(
    fc.property(
      fc.array(piece).map((pieces) => `/${pieces.join('')}`),
      (target) => {
        const normalized = normalizeTarget(target);
        assert.equal(normalizeTarget(normalized), normalized);
        const [path = ''] = target.split('?', 1);
        if (/%(?![0-9a-f]{2})/i.test(path)) assert.equal(normalized, target);
        else assert.equal(isAmbiguous(normalized.replace(/^\/\/(?=\?|$)/, '/')), false, normalized);
      },
    ),
    { numRuns: 3000 },
  );
});
