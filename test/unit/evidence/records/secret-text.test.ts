import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { looksSecret, RemovedTexts } from '../../../../src/evidence/records/secret-text.ts';

test('a text of everyday requests is no secret', () => {
  for (const text of [
    '/orders/17/items',
    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    'curl/8.14.1',
    'grpc-node-js/1.14.1',
    'application/json; charset=utf-8',
    'spiffe://prod.acme.test/ns/default/sa/tokens',
    '7e3f6a4c-1d2b-4c3d-8e9f-0a1b2c3d4e5f',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    '/v1/tokens/list',
    'CN=basic,O=acme',
  ]) {
    assert.equal(looksSecret(text), false, text);
  }
});

test('what was removed is found again in whole, in part and in other forms', () => {
  const removed = new RemovedTexts();
  removed.add('session=aaa-BBBB-cccc; theme=dark-blue');
  for (const text of [
    'aaa-BBBB-cccc',
    'x aaa-bbbb-cccc y',
    'BBBB-cccc',
    'session%3Daaa-BBBB-cccc',
    Buffer.from('aaa-BBBB-cccc').toString('base64'),
  ]) {
    assert.ok(removed.isIn(text), text);
  }
  for (const text of ['', 'dice', 'aaa', 'orders']) assert.ok(!removed.isIn(text), text);
});

test('whatever was removed is found in a text that has it', () => {
  const word = fc.string({ minLength: 6, maxLength: 30 });
  fc.assert(
    fc.property(word, fc.string(), fc.string(), (secret, before, after) => {
      const removed = new RemovedTexts();
      removed.add(secret);
      assert.ok(removed.isIn(`${before}${secret}${after}`));
      assert.ok(removed.isIn(secret.toUpperCase().toLowerCase()));
    }),
    { numRuns: 500 },
  );
});

test('what would take too long to compare counts as removed', () => {
  const startedAt = performance.now();
  const many = new RemovedTexts();
  for (let number = 0; number < 200_000; number += 1) many.add(`removed-${number}`);
  assert.ok(many.isIn('dice'));
  const some = new RemovedTexts();
  for (let number = 0; number < 2000; number += 1) some.add(`removed-${number}`);
  const found = Array.from({ length: 5000 }, () => some.isIn('dice'));
  assert.deepEqual([found[0], found.at(-1)], [false, true]);
  assert.ok(performance.now() - startedAt < 2000);
});

test('a PEM block is found with the words of its name', () => {
  for (const text of ['BEGIN+RSA+PRIVATE+KEY', 'begin%20certificate', 'END  TRUSTED  CERTIFICATE']) {
    assert.ok(looksSecret(text), text);
  }
});

test('no text takes long, however it is made', () => {
  const parts = [
    'BEGIN+',
    'END%20',
    'BEGIN A ',
    'bearer ',
    'bearer\t\t',
    '://a:',
    '://',
    'eyJ-',
    'ghp_a ',
    ';Cert="',
    '+',
  ];
  for (const part of parts) {
    for (const length of [16 * 1024, 60_000]) {
      const text = part.repeat(Math.floor(length / part.length));
      const startedAt = performance.now();
      const found = looksSecret(text);
      const ms = performance.now() - startedAt;
      assert.ok(ms < 50, `${part}: ${ms} ms`);
      assert.ok(found || length <= 16 * 1024, part);
    }
  }
});
