import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isAmbiguous, normalizeTarget } from '../../../../src/endpoints/ext-authz/path-guard.ts';

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

test('what is normalized is not ambiguous any more, and normalizing it again changes nothing', () => {
  const piece = fc.constantFrom('/', '.', '..', '%2e', '%2E', '%2f', '%5C', '\\', 'a', '?', '%25', '%', '%252f', '&');
  fc.assert(
    fc.property(
      fc.array(piece).map((pieces) => `/${pieces.join('')}`),
      (target) => {
        const normalized = normalizeTarget(target);
        assert.equal(isAmbiguous(normalized), false, normalized);
        assert.equal(normalizeTarget(normalized), normalized);
        if (!isAmbiguous(target)) assert.equal(normalized, target);
      },
    ),
    { numRuns: 3000 },
  );
});
