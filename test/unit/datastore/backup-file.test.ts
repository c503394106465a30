import assert from 'node:assert/strict';
import { createCipheriv, generateKeyPairSync, randomBytes, scryptSync } from 'node:crypto';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { openBackup, sealBackup, type BackupContent } from '../../../src/datastore/index.ts';
import { parseTrustDomain } from '../../../src/spiffe/index.ts';

const PASSPHRASE = 'correct horse battery';
const pkcs8 = new Uint8Array(
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'der' }),
);
const CONTENT: BackupContent = {
  format: 1,
  createdAt: Date.UTC(2026, 0, 1),
  trustDomain: parseTrustDomain('prod.acme.test'),
  datastore: '{"entries":["käse 🧀\\n"]}\n',
  keys: [{ id: 'x509-1', type: 'ec-p256', pkcs8 }],
};

let sealed: Buffer;
before(async () => {
  sealed = Buffer.from(await sealBackup(CONTENT, PASSPHRASE));
});

const headerOf = (file: Buffer): string => file.toString('latin1').split('\n').slice(0, 2).join('\n');

/** The file with another header over the same content: what somebody without the passphrase can make. */
function withHeader(fields: object): Buffer {
  const [first, second = ''] = headerOf(sealed).split('\n');
  const header = { ...(JSON.parse(second) as object), ...fields };
  const rest = sealed.subarray(Buffer.byteLength(headerOf(sealed), 'latin1') + 1);
  return Buffer.concat([Buffer.from(`${first}\n${JSON.stringify(header)}\n`), rest]);
}

test('a backup gives back what was put into it, for the passphrase and for no other', async () => {
  assert.deepEqual(await openBackup(sealed, PASSPHRASE), CONTENT);
  for (const wrong of ['', 'correct horse batterx', `${PASSPHRASE} `]) {
    await assert.rejects(openBackup(sealed, wrong), {
      code: 'invalid_request',
      message: 'the backup cannot be opened: the passphrase is wrong, or the file was changed',
    });
  }
});

test('a key from a file serves as well, and the same letters do however they are encoded', async () => {
  const key = randomBytes(32);
  assert.deepEqual(await openBackup(await sealBackup(CONTENT, key), key), CONTENT);
  const composed = 'käse käse käse'.normalize('NFC');
  assert.deepEqual(await openBackup(await sealBackup(CONTENT, composed), composed.normalize('NFD')), CONTENT);
});

test('what it is and when it was made can be read without the passphrase, and nothing else', async () => {
  const [first, second = ''] = headerOf(sealed).split('\n');
  assert.equal(first, 'svidgate backup');
  const header = JSON.parse(second) as Record<string, unknown>;
  assert.equal(header['format'], 1);
  assert.equal(header['created_at'], '2026-01-01T00:00:00.000Z');
  const rest = sealed.toString('latin1');
  for (const secret of ['prod.acme.test', 'x509-1', 'entries', Buffer.from(pkcs8).toString('base64').slice(0, 20)])
    assert.ok(!rest.includes(secret));
  assert.notDeepEqual(await sealBackup(CONTENT, PASSPHRASE), sealed, 'no two are alike');
});

test('a passphrase that is too short is refused when the backup is made', async () => {
  for (const short of ['', 'elevenchars', randomBytes(11)]) {
    await assert.rejects(sealBackup(CONTENT, short), {
      code: 'invalid_request',
      message: 'the passphrase of a backup has at least 12 characters',
    });
  }
});

for (const { what, file, message } of [
  { what: 'nothing', file: () => Buffer.alloc(0), message: /no backup/ },
  { what: 'something else', file: () => Buffer.from('{"entries":[]}'), message: /no backup/ },
  { what: 'its first line alone', file: () => Buffer.from('svidgate backup\n'), message: /no header: it is cut/ },
  { what: 'cut within its header', file: () => sealed.subarray(0, 40), message: /no header: it is cut/ },
  { what: 'cut by one byte', file: () => sealed.subarray(0, -1), message: /is cut: 1 bytes are missing/ },
  { what: 'longer by one byte', file: () => Buffer.concat([sealed, Buffer.from('x')]), message: /was changed/ },
  { what: 'of a newer svidgate', file: () => withHeader({ format: 2, more: 1 }), message: /format 2 of a newer svid/ },
  {
    what: 'with a header that is no JSON',
    file: () => Buffer.from('svidgate backup\n{\n'),
    message: /header.*changed/,
  },
  { what: 'with another time', file: () => withHeader({ created_at: '2027-01-01T00:00:00.000Z' }), message: /changed/ },
  { what: 'with an unknown field', file: () => withHeader({ also: 1 }), message: /header.*changed/ },
  { what: 'with an empty salt', file: () => withHeader({ salt: '' }), message: /header.*changed/ },
  { what: 'with scrypt of 4 GiB', file: () => withHeader({ scrypt: { n: 2 ** 22, r: 8, p: 1 } }), message: /header/ },
  {
    what: 'with endless scrypt',
    file: () => withHeader({ scrypt: { n: 2 ** 17, r: 8, p: 2 ** 20 } }),
    message: /header/,
  },
  {
    what: 'with scrypt of no power of two',
    file: () => withHeader({ scrypt: { n: 3, r: 8, p: 1 } }),
    message: /header/,
  },
  { what: 'with a negative length', file: () => withHeader({ bytes: -1 }), message: /header/ },
]) {
  test(`a file that is ${what} is refused in words`, async () => {
    await assert.rejects(openBackup(file(), PASSPHRASE), { code: 'invalid_request', message });
  });
}

/** A file as sealBackup makes it, with a passphrase that is cheap to check. */
function cheapBackup(clear: string): Buffer {
  const salt = randomBytes(16);
  const iv = randomBytes(12);
  const header = Buffer.from(
    `svidgate backup\n${JSON.stringify({
      format: 1,
      created_at: '2026-01-01T00:00:00.000Z',
      cipher: 'scrypt+aes-256-gcm',
      scrypt: { n: 2, r: 8, p: 1 },
      salt: salt.toString('base64'),
      iv: iv.toString('base64'),
      bytes: Buffer.byteLength(clear) + 16,
    })}\n`,
  );
  const cipher = createCipheriv('aes-256-gcm', scryptSync(PASSPHRASE, salt, 32, { N: 2 }), iv);
  cipher.setAAD(header);
  return Buffer.concat([header, cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
}

const CLEAR = '{"createdAt":1,"trustDomain":"a","keys":[]}\n{"entries":[]}';

test('a content that is not what it should be is refused, also under the right passphrase', async () => {
  assert.equal((await openBackup(cheapBackup(CLEAR), PASSPHRASE)).datastore, '{"entries":[]}');
  for (const clear of ['', '{}', '{}\n', CLEAR.replace('"a"', '"A B"'), CLEAR.replace('[]', '[{}]')]) {
    const refused = { code: 'invalid_request', message: /does not hold what/ };
    await assert.rejects(openBackup(cheapBackup(clear), PASSPHRASE), refused);
  }
});

test('a file with any one bit of it flipped is refused', async () => {
  const file = cheapBackup(CLEAR);
  for (const at of file.keys()) {
    for (let bit = 0; bit < 8; bit += 1) {
      const changed = Buffer.from(file);
      changed[at] = (changed[at] ?? 0) ^ (1 << bit);
      await assert.rejects(openBackup(changed, PASSPHRASE), { code: 'invalid_request' }, `bit ${bit} of byte ${at}`);
    }
  }
});

test('a file with bytes of it changed, removed or added at random is refused', async () => {
  const file = cheapBackup(CLEAR);
  const cut = fc.nat({ max: file.length });
  await fc.assert(
    fc.asyncProperty(cut, cut, fc.uint8Array({ maxLength: 40 }), async (start, end, between) => {
      const changed = Buffer.concat([file.subarray(0, start), between, file.subarray(end)]);
      fc.pre(!changed.equals(file));
      await assert.rejects(openBackup(changed, PASSPHRASE), { code: 'invalid_request' });
    }),
    { numRuns: 500 },
  );
});
