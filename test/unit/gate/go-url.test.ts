import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { parseTarget } from '../../../src/gate/go-url.ts';

const good = [
  { target: '', path: [''], query: {} },
  { target: '/', path: [''], query: {} },
  { target: '/orders/1', path: ['orders', '1'], query: {} },
  { target: '//orders//1/', path: ['orders', '', '1', ''], query: {} },
  { target: '/a%2Fb/%2e%2E', path: ['a', 'b', '..'], query: {} },
  { target: '/a+b', path: ['a+b'], query: {} },
  { target: '/a?x=1&x=2&y', path: ['a'], query: { x: ['1', '2'], y: [''] } },
  { target: '/a?x=a+b%20c&=v&&z=%3D', path: ['a'], query: { x: ['a b c'], '': ['v'], z: ['='] } },
  { target: '/a?b?c=1', path: ['a'], query: { 'b?c': ['1'] } },
  { target: '/%ff', path: ['\ufffd'], query: {} },
  { target: '/%c3%a9', path: ['é'], query: {} },
  { target: '/a?__proto__=1', path: ['a'], query: JSON.parse('{"__proto__":["1"]}') as object },
];

for (const { target, path, query } of good) {
  test(`${JSON.stringify(target)} is read as Go reads it`, () => {
    const parsed = parseTarget(target);
    assert.deepEqual(parsed.path, path);
    assert.deepEqual(Object.fromEntries(parsed.query), query);
  });
}

for (const target of ['/%', '/%2', '/%zz', '/a?x=%', '/a?x=1;y=2', '/a?%g1=1']) {
  test(`${target} is refused`, () => assert.throws(() => parseTarget(target), { code: 'invalid_request' }));
}

test('a target of any kind is parsed or refused, never anything else', () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom('/', '%', '2', 'f', 'F', '?', '&', '=', '+', ';', '.', 'a', '\u00e9', '\ud800'),
      }),
      (target) => {
        try {
          for (const segment of parseTarget(target).path) assert.equal(segment.includes('/'), false);
        } catch (error) {
          assert.ok(error instanceof SvidgateError && error.code === 'invalid_request');
        }
      },
    ),
  );
});
