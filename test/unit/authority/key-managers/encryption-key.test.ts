import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readEncryptionKey } from '../../../../src/authority/index.ts';
import { describeError } from '../../../../src/core/index.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const KEY = randomBytes(32);
const VARIABLE = 'SVIDGATE_TEST_ENCRYPTION_KEY';

async function readFromEnvironment(value: string | undefined): Promise<Uint8Array> {
  try {
    if (value !== undefined) process.env[VARIABLE] = value;
    return await readEncryptionKey({ env: VARIABLE });
  } finally {
    Reflect.deleteProperty(process.env, VARIABLE);
  }
}

describe('an encryption key', () => {
  const written: Readonly<Record<string, string>> = {
    base64: KEY.toString('base64'),
    'base64 with a line feed': `${KEY.toString('base64')}\n`,
    hexadecimal: KEY.toString('hex'),
    'hexadecimal in capitals': KEY.toString('hex').toUpperCase(),
  };
  for (const [form, text] of Object.entries(written)) {
    it(`is read as ${form}`, async () => {
      assert.deepEqual(Buffer.from(await readFromEnvironment(text)), KEY);
      await using folder = await tempFolder();
      const file = join(folder.path, 'key');
      await writeFile(file, text, { mode: 0o600 });
      assert.deepEqual(Buffer.from(await readEncryptionKey({ file })), KEY);
    });
  }

  const refused: Readonly<Record<string, string>> = {
    'a passphrase': 'correct horse battery staple',
    'a passphrase of 32 characters': 'correct-horse-battery-staple-123',
    'a passphrase of 44 characters': 'correct-horse-battery-staple-1234567890abcd=',
    'a passphrase in base64': Buffer.from('correct-horse-battery-staple-123').toString('base64'),
    'a passphrase in hexadecimal': Buffer.from('correct-horse-battery-staple-123').toString('hex'),
    zeros: Buffer.alloc(32).toString('base64'),
    'one byte over and over': 'ab'.repeat(32),
    '16 bytes': KEY.subarray(0, 16).toString('base64'),
    '31 bytes': KEY.subarray(0, 31).toString('hex'),
    '33 bytes': Buffer.concat([KEY, KEY.subarray(0, 1)]).toString('base64'),
    'white space within': `${KEY.toString('hex').slice(0, 32)} ${KEY.toString('hex').slice(32)}`,
    'two lines': `${KEY.toString('base64')}\n${KEY.toString('base64')}`,
    'base64 without its end': KEY.toString('base64').replace('=', ''),
  };
  for (const [name, text] of Object.entries(refused)) {
    it(`is not ${name}`, async () => {
      await assert.rejects(readFromEnvironment(text), (error: Error & { code?: unknown }) => {
        assert.equal(error.code, 'config_invalid');
        assert.match(error.message, /openssl rand -base64 32/);
        assert.ok(!describeError(error).includes(text.slice(0, 12)));
        return true;
      });
    });
  }

  it('is missing where the variable is', async () => {
    const message = `the environment variable ${VARIABLE} is not set`;
    await assert.rejects(readFromEnvironment(undefined), { code: 'config_invalid', message });
    await assert.rejects(readFromEnvironment(' \n'), { code: 'config_invalid', message: / is empty$/ });
  });

  it('is read from a file that only we and at most its group may read', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'key');
    await writeFile(file, KEY.toString('base64'));
    for (const mode of [0o400, 0o600, 0o440, 0o640]) {
      await chmod(file, mode);
      assert.equal((await readEncryptionKey({ file })).length, 32, mode.toString(8));
    }
    for (const mode of [0o644, 0o604, 0o660, 0o602, 0o666, 0o601]) {
      await chmod(file, mode);
      const expected = { code: 'file_unreadable', message: /others may read or change it/ };
      await assert.rejects(readEncryptionKey({ file }), expected, mode.toString(8));
    }
  });

  it('is read through a symbolic link, as Kubernetes mounts secrets', async () => {
    await using folder = await tempFolder();
    await writeFile(join(folder.path, 'target'), KEY.toString('base64'), { mode: 0o400 });
    await symlink('target', join(folder.path, 'link'));
    assert.equal((await readEncryptionKey({ file: join(folder.path, 'link') })).length, 32);
  });

  it('is not read from what is no file, or too large, or not there', async () => {
    await using folder = await tempFolder();
    await mkdir(join(folder.path, 'folder'), { mode: 0o700 });
    await writeFile(join(folder.path, 'large'), 'x'.repeat(4097), { mode: 0o600 });
    for (const name of ['folder', 'large', 'missing']) {
      await assert.rejects(readEncryptionKey({ file: join(folder.path, name) }), { code: 'file_unreadable' }, name);
    }
  });
});
