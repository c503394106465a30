import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import {
  isSpiffeId,
  parseSelector,
  parseSpiffeId,
  pathOf,
  trustDomainId,
  trustDomainOf,
} from '../../../src/spiffe/index.ts';

const good = [
  { text: 'spiffe://example.test', trustDomain: 'example.test', path: '' },
  { text: 'spiffe://example.test/orders', trustDomain: 'example.test', path: '/orders' },
  { text: 'spiffe://1.2.3.4/a/B-c_d.e', trustDomain: '1.2.3.4', path: '/a/B-c_d.e' },
  { text: 'spiffe://a_b/...', trustDomain: 'a_b', path: '/...' },
];

for (const { text, trustDomain, path } of good) {
  test(`${text} is a SPIFFE ID`, () => {
    const id = parseSpiffeId(text);
    assert.equal(trustDomainOf(id), trustDomain);
    assert.equal(pathOf(id), path);
    assert.equal(`${trustDomainId(trustDomainOf(id))}${pathOf(id)}`, text);
  });
}

const bad = [
  { text: '', message: /scheme is missing or invalid/ },
  { text: 'SPIFFE://example.test/x', message: /scheme is missing or invalid/ },
  { text: 'https://example.test/x', message: /scheme is missing or invalid/ },
  { text: 'spiffe://', message: /trust domain is missing/ },
  { text: 'spiffe:///x', message: /trust domain is missing/ },
  { text: 'spiffe://Example.test/x', message: /trust domain characters/ },
  { text: 'spiffe://example.test:80/x', message: /trust domain characters/ },
  { text: 'spiffe://user@example.test/x', message: /trust domain characters/ },
  { text: 'spiffe://[::1]/x', message: /trust domain characters/ },
  { text: `spiffe://${'a'.repeat(256)}/x`, message: /longer than 255/ },
  { text: 'spiffe://example.test/', message: /empty segments or end with a slash/ },
  { text: 'spiffe://example.test//x', message: /empty segments/ },
  { text: 'spiffe://example.test/x/', message: /end with a slash/ },
  { text: 'spiffe://example.test/./x', message: /dot segments/ },
  { text: 'spiffe://example.test/x/..', message: /dot segments/ },
  { text: 'spiffe://example.test/x?y', message: /path segment characters/ },
  { text: 'spiffe://example.test/x#y', message: /path segment characters/ },
  { text: 'spiffe://example.test/%41', message: /path segment characters/ },
  { text: 'spiffe://example.test/x\n', message: /path segment characters/ },
  { text: `spiffe://example.test/${'x'.repeat(2048)}`, message: /longer than 2048/ },
];

for (const { text, message } of bad) {
  test(`${JSON.stringify(text.slice(0, 40))} is refused`, () => {
    assert.equal(isSpiffeId(text), false);
    assert.throws(() => parseSpiffeId(text), { name: 'SvidgateError', code: 'spiffe_id_invalid', message });
  });
}

test('parsing text of any kind gives a SPIFFE ID that formats to itself, or spiffe_id_invalid', () => {
  const segment = fc.string({
    unit: fc.constantFrom('a', 'Z', '0', '.', '-', '_', '%', '/', '?', '#', ':', '@', ' ', '\u00e9'),
  });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        segment.map((text) => `spiffe://${text}`),
      ),
      (text) => {
        try {
          const id = parseSpiffeId(text);
          assert.equal(`spiffe://${trustDomainOf(id)}${pathOf(id)}`, text);
          assert.match(text, /^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/);
        } catch (error) {
          assert.ok(error instanceof SvidgateError && error.code === 'spiffe_id_invalid');
        }
      },
    ),
  );
});

test('a selector has a type and a value', () => {
  assert.equal(parseSelector('unix:uid:1001'), 'unix:uid:1001');
  assert.equal(parseSelector('unix:path:/bin/a b'), 'unix:path:/bin/a b');
  for (const text of ['', 'unix', 'unix:', ':uid', 'UNIX:uid', 'a'.repeat(5000)]) {
    assert.throws(() => parseSelector(text), { code: 'invalid_request' });
  }
});
