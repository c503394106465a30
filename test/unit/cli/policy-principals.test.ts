import assert from 'node:assert/strict';
import { test } from 'node:test';
import { literalsOfData, unissuedPrincipals } from '../../../src/cli/policy-principals.ts';

const KNOWN = {
  trustDomain: 'a.test',
  spiffeIds: new Set(['spiffe://a.test/ns/shop/web', 'spiffe://a.test/orders']),
  federated: new Set(['a.test', 'b.test']),
};

/** Each text, whether other texts begin with it, and what is found. */
const CASES: readonly (readonly [text: string, isPrefix: boolean, found: string | undefined])[] = [
  ['spiffe://a.test/orders', false, undefined],
  ['spiffe://a.test/order', false, 'no entry issues spiffe://a.test/order'],
  ['spiffe://a.test/order', true, undefined],
  ['spiffe://a.test/ns/shop/', false, undefined],
  ['spiffe://a.test/ns/*/web', false, undefined],
  ['spiffe://a.test/ns/sh%s', false, undefined],
  ['spiffe://a.test/ns/pay/*', false, 'no entry issues a SPIFFE ID that begins with spiffe://a.test/ns/pay/'],
  ['spiffe://a.test', true, undefined],
  ['spiffe://a.test/', true, undefined],
  ['spiffe://', true, undefined],
  ['spiffe://b.test/anything', false, undefined],
  ['spiffe://c.test/web', false, 'spiffe://c.test/web is of a trust domain whose bundle is not there'],
];

for (const [text, isPrefix, found] of CASES) {
  test(`${text}${isPrefix ? ' and what begins with it' : ''}: ${found ?? 'nothing to say'}`, () => {
    const problems = unissuedPrincipals([{ text, isPrefix, file: 'a.rego', line: 1, column: 1 }], KNOWN);
    assert.deepEqual(
      problems.map(({ message }) => message),
      found === undefined ? [] : [found],
    );
  });
}

test('of trust domains that nobody knows nothing is said', () => {
  const { federated: _, ...known } = KNOWN;
  const literal = { text: 'spiffe://c.test/web', isPrefix: false, file: 'a.rego', line: 1, column: 1 };
  assert.deepEqual(unissuedPrincipals([literal], known), []);
});

test('SPIFFE IDs in data are found with their places, and not in comments', () => {
  const data = {
    'data.yaml':
      '# spiffe://a.test/no\nrows:\n  - from: ["spiffe://a.test/x", spiffe://a.test/y] # spiffe://a.test/no\n',
    'b/data.json': '{"# spiffe://a.test/no": "spiffe://a.test/z"}',
  };
  assert.deepEqual(
    literalsOfData({ files: { modules: {}, data } }).map(({ text, file, line, column }) => [text, file, line, column]),
    [
      ['spiffe://a.test/x', 'data.yaml', 3, 13],
      ['spiffe://a.test/y', 'data.yaml', 3, 33],
      ['spiffe://a.test/no', 'b/data.json', 1, 5],
      ['spiffe://a.test/z', 'b/data.json', 1, 27],
    ],
  );
});
