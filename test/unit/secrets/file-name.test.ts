import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseFileName } from '../../../src/secrets/file-name.ts';

describe('names of files', () => {
  test('are those that the proxy of Istio asks for', () => {
    assert.deepEqual(parseFileName('file-cert:/etc/certs/cert-chain.pem~/etc/certs/key.pem'), {
      kind: 'file-cert',
      certificate: '/etc/certs/cert-chain.pem',
      privateKey: '/etc/certs/key.pem',
    });
    assert.deepEqual(parseFileName('file-root:/etc/certs/root cert.pem'), {
      kind: 'file-root',
      ca: '/etc/certs/root cert.pem',
    });
    assert.equal(parseFileName('file-root:/k8s/..data/ca.crt')?.kind, 'file-root');
  });

  const wrong = [
    'default',
    'file-root:system',
    'file-root:',
    'file-root:/',
    'file-root:/etc/',
    'file-root:etc/ca.pem',
    'file-root:./ca.pem',
    'file-root:/etc/../etc/ca.pem',
    'file-root:/..',
    'file-root:/etc/./ca.pem',
    'file-root://etc/ca.pem',
    'file-root:/etc//ca.pem',
    'file-root:/etc/ca.pem\0',
    'file-root:/etc/ca\n.pem',
    'file-root:/etc/\u007f',
    'file-root:/etc/\ud800',
    'file-root:/a~/b',
    `file-root:/${'a'.repeat(1024)}`,
    'FILE-ROOT:/etc/ca.pem',
    ' file-root:/etc/ca.pem',
    'file-cert:/a',
    'file-cert:/a~',
    'file-cert:~/b',
    'file-cert:/a~/b~/c',
    'file-cert:/a~b',
    'file-cert:/a~/../b',
    `file-cert:${'~'.repeat(100_000)}`,
  ];
  for (const name of wrong) {
    test(`are not ${JSON.stringify(name.slice(0, 60))}`, () => assert.equal(parseFileName(name), undefined));
  }

  test('have only paths that say the same in every spelling', () => {
    const part = fc.oneof(
      fc.constantFrom('a', 'b', '..a', 'a..', '...', '\\', '%2e%2e', '\u2025'),
      fc.constantFrom('..', '.', '', '~', '/', '\0', '\n', '\ud800'),
    );
    const path = fc.array(part, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
    fc.assert(
      fc.property(fc.constantFrom('file-root:', 'file-cert:'), path, path, (prefix, one, other) => {
        const parsed = parseFileName(prefix === 'file-root:' ? `${prefix}${one}` : `${prefix}${one}~${other}`);
        if (parsed === undefined) return;
        const paths = parsed.kind === 'file-root' ? [parsed.ca] : [parsed.certificate, parsed.privateKey];
        for (const found of paths) {
          assert.ok(found.startsWith('/') && found.length > 1);
          assert.equal(posix.resolve('/elsewhere', found), found);
          assert.ok(!found.split('/').includes('..') && !found.includes('\0'));
        }
      }),
      { numRuns: 500 },
    );
  });
});
