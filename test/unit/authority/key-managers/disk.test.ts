import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmod,
  chown,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDiskKeyManager, type KeyEncryption, type KeyManager } from '../../../../src/authority/index.ts';
import { silentLogger, type Logger } from '../../../../src/core/index.ts';
import { keyManagerContract, type OpenedKeyManager } from '../../../support/key-manager-contract.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const PLAIN: KeyEncryption = { kind: 'none' };

function newEncryption(): KeyEncryption {
  return { kind: 'key', key: randomBytes(32) };
}

async function openDisk(directory: string, encryption: KeyEncryption, logger = silentLogger): Promise<KeyManager> {
  return await createDiskKeyManager({ directory, encryption, logger });
}

/** Warnings go to the list, as their message and count. */
function recordingLogger(warnings: string[]): Logger {
  return {
    ...silentLogger,
    warn: ({ count }, message) => void warnings.push(count === undefined ? message : `${message}: ${count}`),
  };
}

for (const encryption of [PLAIN, newEncryption()]) {
  const name = encryption.kind === 'none' ? 'disk, plain,' : 'disk, encrypted,';
  keyManagerContract(name, async (): Promise<OpenedKeyManager> => {
    const folder = await tempFolder();
    const directory = join(folder.path, 'keys');
    let keys = await openDisk(directory, encryption);
    return {
      keys,
      reopen: async () => {
        await keys.close();
        keys = await openDisk(directory, encryption);
        return keys;
      },
      breakBackEnd: async () => {
        await rm(directory, { recursive: true });
        await writeFile(directory, 'no folder');
      },
      [Symbol.asyncDispose]: async () => {
        await keys.close();
        await folder[Symbol.asyncDispose]();
      },
    };
  });
}

test('files are 0600 in a folder of mode 0700, and nothing else is in it', async () => {
  await using folder = await tempFolder();
  const directory = join(folder.path, 'deep/keys');
  const keys = await openDisk(directory, newEncryption());
  await keys.generate('a', 'ec-p256');
  await keys.generate('a', 'ec-p256');
  assert.deepEqual(await readdir(directory), ['a.key']);
  assert.equal((await stat(directory)).mode & 0o777, 0o700);
  assert.equal((await stat(join(directory, 'a.key'))).mode & 0o777, 0o600);
});

test('an encrypted file holds neither the key nor the word for one', async () => {
  await using folder = await tempFolder();
  const keys = await openDisk(folder.path, newEncryption());
  await keys.generate('a', 'ec-p256');
  const text = await readFile(join(folder.path, 'a.key'), 'utf8');
  const pkcs8 = Buffer.from(await keys.exports!.exportKey('a'));
  assert.doesNotMatch(text, /PRIVATE/);
  for (let start = 0; start + 8 <= pkcs8.length; start++) {
    const piece = pkcs8.subarray(start, start + 8);
    const values = Object.values(JSON.parse(text) as Record<string, unknown>).map(String);
    assert.ok(!values.some((value) => Buffer.from(value, 'base64').includes(piece)));
  }
});

test('plain storage is one warning at each start, encrypted storage none', async () => {
  await using folder = await tempFolder();
  const warnings: string[] = [];
  const keys = await openDisk(folder.path, PLAIN, recordingLogger(warnings));
  await keys.generate('a', 'ec-p256');
  assert.deepEqual(warnings, ['private keys are stored without encryption']);
  await using other = await tempFolder();
  const encryptedKeys = await openDisk(other.path, newEncryption(), recordingLogger(warnings));
  await encryptedKeys.generate('a', 'ec-p256');
  assert.equal(warnings.length, 1);
});

test('plain files are encrypted once a key is configured', async () => {
  await using folder = await tempFolder();
  const plain = await openDisk(folder.path, PLAIN);
  const made = [await plain.generate('a', 'ec-p256'), await plain.generate('b', 'ec-p384')];
  await plain.close();

  const warnings: string[] = [];
  const encryption = newEncryption();
  for (let round = 0; round < 2; round++) {
    const keys = await openDisk(folder.path, encryption, recordingLogger(warnings));
    for (const key of made) {
      assert.ok((await keys.find(key.id))?.publicKey.equals(key.publicKey));
      assert.doesNotMatch(await readFile(join(folder.path, `${key.id}.key`), 'utf8'), /PRIVATE/);
    }
    await keys.close();
  }
  assert.deepEqual(warnings, ['plain private keys are now encrypted: 2']);
});

test('a plain file that comes later, while keys are encrypted, is refused', async () => {
  await using folder = await tempFolder();
  const keys = await openDisk(folder.path, newEncryption());
  await keys.generate('a', 'ec-p256');
  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  await writeFile(join(folder.path, 'a.key'), foreign.export({ type: 'pkcs8', format: 'pem' }));
  await assert.rejects(keys.find('a'), { code: 'key_manager_failed', message: /a\.key cannot be used: it is not enc/ });
});

test('with the wrong key, or none, the start fails and names the file', async () => {
  await using folder = await tempFolder();
  const right = newEncryption();
  await (await openDisk(folder.path, right)).generate('a', 'ec-p256');
  const before = await readFile(join(folder.path, 'a.key'));
  const path = join(folder.path, 'a.key');
  await assert.rejects(openDisk(folder.path, newEncryption()), {
    code: 'key_manager_failed',
    message: `key file ${path} cannot be used: it was encrypted with another key, or for another key id, or was changed since`,
  });
  await assert.rejects(openDisk(folder.path, PLAIN), {
    code: 'key_manager_failed',
    message: `key file ${path} cannot be used: it is encrypted, and no encryption key is configured`,
  });
  assert.deepEqual(await readFile(path), before);
  assert.ok(await (await openDisk(folder.path, right)).find('a'));
});

test('an encrypted file is good for its own id only', async () => {
  await using folder = await tempFolder();
  const keys = await openDisk(folder.path, newEncryption());
  await keys.generate('a', 'ec-p256');
  await keys.generate('b', 'ec-p256');
  await copyFile(join(folder.path, 'a.key'), join(folder.path, 'c.key'));
  await rename(join(folder.path, 'a.key'), join(folder.path, 'b.key'));
  for (const id of ['b', 'c']) {
    await assert.rejects(keys.find(id), { code: 'key_manager_failed', message: new RegExp(`${id}\\.key`) });
  }
  assert.equal(await keys.find('a'), undefined);
});

test('one changed byte anywhere in an encrypted file is found', async () => {
  await using folder = await tempFolder();
  const keys = await openDisk(folder.path, newEncryption());
  const made = await keys.generate('a', 'ec-p256');
  const path = join(folder.path, 'a.key');
  const good = await readFile(path);
  for (let at = 0; at < good.length - 1; at++) {
    const bad = Buffer.from(good);
    bad[at]! ^= 1;
    await writeFile(path, bad);
    // A base64 digit may hold bits that mean nothing; then the key is the same.
    try {
      const found = await keys.find('a');
      assert.ok(found?.publicKey.equals(made.publicKey), `byte ${at}`);
    } catch (error) {
      assert.equal((error as { code?: unknown }).code, 'key_manager_failed', `byte ${at}: ${String(error)}`);
    }
  }
});

const notKeys: Readonly<Record<string, string>> = {
  'an empty file': '',
  'half a file': '{"format":1,"cipher":"aes-2',
  null: 'null',
  'another format': '{"format":2}',
  'another cipher': '{"format":1,"cipher":"none","iv":"AAAAAAAAAAAAAAAA","tag":"","encrypted_key":""}',
  'a short tag': '{"format":1,"cipher":"aes-256-gcm","iv":"AAAAAAAAAAAAAAAA","tag":"AAAA","encrypted_key":""}',
  'numbers for texts': '{"format":1,"cipher":"aes-256-gcm","iv":12,"tag":16,"encrypted_key":1}',
  'PEM that is no key': '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
  'a key of another type': generateKeyPairSync('ed25519')
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString(),
};
for (const [name, text] of Object.entries(notKeys)) {
  for (const encryption of [PLAIN, newEncryption()]) {
    test(`${name} in place of a key ends the start (${encryption.kind})`, async () => {
      await using folder = await tempFolder();
      await writeFile(join(folder.path, 'a.key'), text);
      const expected = { code: 'key_manager_failed', message: /a\.key cannot be used/ };
      await assert.rejects(openDisk(folder.path, encryption), expected);
    });
  }
}

test('files of other names are let alone; what a crash left is removed', async () => {
  await using folder = await tempFolder();
  const foreign = ['README', 'a.pem', 'a b.key', 'sub'];
  await Promise.all(foreign.slice(0, 3).map((name) => writeFile(join(folder.path, name), 'x')));
  await mkdir(join(folder.path, 'sub'));
  await writeFile(join(folder.path, '.a.key.0123456789ab.tmp'), 'half of a key');
  const keys = await openDisk(folder.path, newEncryption());
  assert.deepEqual(await keys.list(), []);
  assert.deepEqual((await readdir(folder.path)).sort(), foreign.sort());
});

test('a symbolic link, a FIFO or a folder in place of a key is refused, and not waited for', async () => {
  await using folder = await tempFolder();
  const keys = await openDisk(folder.path, PLAIN);
  await keys.generate('real', 'ec-p256');
  await symlink(join(folder.path, 'real.key'), join(folder.path, 'link.key'));
  await mkdir(join(folder.path, 'dir.key'));
  const [code] = (await once(spawn('mkfifo', [join(folder.path, 'fifo.key')]), 'exit')) as [number];
  assert.equal(code, 0);
  for (const id of ['link', 'dir', 'fifo']) await assert.rejects(keys.find(id), { code: 'key_manager_failed' }, id);
});

test('a folder that was open to others is closed to them', async () => {
  await using folder = await tempFolder();
  await chmod(folder.path, 0o777);
  await openDisk(folder.path, PLAIN);
  assert.equal((await stat(folder.path)).mode & 0o777, 0o700);
});

test('a folder of another user is refused', { skip: process.geteuid?.() !== 0 && 'needs root' }, async () => {
  await using folder = await tempFolder();
  const directory = join(folder.path, 'keys');
  await mkdir(directory);
  await chown(directory, 65_534, 65_534);
  await assert.rejects(openDisk(directory, PLAIN), { code: 'key_manager_failed', message: /keys cannot be used/ });
});

test('a key that was returned survives kill -9 at any moment, and no file is ever half written', async () => {
  await using folder = await tempFolder();
  const encryption = { kind: 'key', key: randomBytes(32) } as const;
  const module = new URL('../../../../src/authority/index.ts', import.meta.url).href;
  const script = `const { createDiskKeyManager } = await import(${JSON.stringify(module)});
    const key = Buffer.from(process.env.KEY, 'hex');
    const logger = { warn() {} };
    const directory = process.env.DIRECTORY;
    const keys = await createDiskKeyManager({ directory, encryption: { kind: 'key', key }, logger });
    for (let n = 0; ; n++) {
      const { publicKey } = await keys.generate('key-' + (n % 3), 'ec-p256');
      const spki = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
      process.stdout.write(JSON.stringify(['key-' + (n % 3), spki]) + '\\n');
    }`;
  for (const afterLines of [1, 4, 9]) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, KEY: encryption.key.toString('hex'), DIRECTORY: folder.path },
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
      if (output.split('\n').length > afterLines) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const lines = output.split('\n').slice(0, -1);
    const returned = new Map(lines.map((line) => JSON.parse(line) as [string, string]));
    const last = lines.at(-1);
    assert.ok(last !== undefined);
    const keys = await openDisk(folder.path, encryption);
    for (const [id, spki] of returned) {
      const found = await keys.find(id);
      assert.ok(found !== undefined, `${id} is there`);
      // The next one of its id may have been on its way; all others are as they were returned.
      const [lastId] = JSON.parse(last) as [string];
      const nextId = `key-${(Number(lastId.slice(4)) + 1) % 3}`;
      if (id !== nextId) assert.equal(found.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'), spki);
    }
    await keys.close();
    assert.ok((await readdir(folder.path)).every((name) => name.endsWith('.key') && !name.startsWith('.')));
  }
});
