import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openAuthorityJournal, openDataDirectory } from '../../../src/datastore/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

test('a data directory is made 0700 and held until it is closed', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'deep/data');
  const first = await openDataDirectory(path);
  assert.equal((await stat(path)).mode & 0o777, 0o700);
  await assert.rejects(openDataDirectory(path), {
    code: 'already_running',
    message: `data_dir ${path} is in use by another svidgate (process ${process.pid})`,
  });
  await first.close();
  await (await openDataDirectory(path)).close();
});

test('the lock ends with its process, also after kill -9', async () => {
  await using folder = await tempFolder();
  const module = new URL('../../../src/datastore/index.ts', import.meta.url).href;
  const script = `const { openDataDirectory } = await import(${JSON.stringify(module)});
    await openDataDirectory(${JSON.stringify(folder.path)}); console.log('held'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  await assert.rejects(openDataDirectory(folder.path), {
    code: 'already_running',
    message: new RegExp(`process ${child.pid}`),
  });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await (await openDataDirectory(folder.path)).close();
});

test('a data directory that is a file is refused with its path', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'file');
  await writeFile(path, '');
  await assert.rejects(openDataDirectory(path), { code: 'file_unreadable', message: /file/ });
});

test('the journal gives back what was saved, with keys 0600 and stale ones removed', async () => {
  await using folder = await tempFolder();
  const directory = await openDataDirectory(folder.path);
  try {
    const journal = await openAuthorityJournal(directory);
    assert.equal(await journal.load(), undefined);
    await journal.saveKey('aa', 'key a');
    await journal.saveKey('bb', 'key b');
    const state = {
      trustDomain: 'example.test',
      sequence: 7,
      records: [{ id: 'aa', state: 'active' as const, certificate: Buffer.from([1, 2, 3]) }],
    };
    await journal.save(state);
    await journal.keepKeys(['aa']);
    assert.deepEqual(await journal.load(), state);
    const keys = join(folder.path, 'authority/keys');
    assert.deepEqual(await readdir(keys), ['aa.pem']);
    assert.equal((await stat(join(keys, 'aa.pem'))).mode & 0o777, 0o600);
    assert.equal(await journal.loadKey('aa'), 'key a');
    await assert.rejects(journal.loadKey('bb'), { code: 'authority_failed' });
  } finally {
    await directory.close();
  }
});

for (const text of [
  '',
  '{',
  '[]',
  'null',
  '{"format":2}',
  '{"format":1,"trust_domain":"a","sequence":1,"authorities":[{}]}',
]) {
  test(`a damaged journal (${text}) is refused and kept`, async () => {
    await using folder = await tempFolder();
    await mkdir(join(folder.path, 'authority'), { recursive: true });
    const file = join(folder.path, 'authority/journal.json');
    await writeFile(file, text);
    const directory = await openDataDirectory(folder.path);
    try {
      const journal = await openAuthorityJournal(directory);
      await assert.rejects(journal.load(), { code: 'authority_failed', message: /is damaged/ });
      assert.equal(await readFile(file, 'utf8'), text);
    } finally {
      await directory.close();
    }
  });
}

test('a data directory below a file is refused with its path', async () => {
  await using folder = await tempFolder();
  await writeFile(join(folder.path, 'file'), '');
  await assert.rejects(openDataDirectory(join(folder.path, 'file/data')), {
    code: 'file_unreadable',
    message: /file\/data/,
  });
});

test('keys are not kept in a folder of another user', { skip: process.geteuid?.() !== 0 && 'needs root' }, async () => {
  await using folder = await tempFolder();
  const directory = await openDataDirectory(folder.path);
  try {
    await mkdir(join(folder.path, 'authority'));
    await chown(join(folder.path, 'authority'), 65_534, 65_534);
    await assert.rejects(openAuthorityJournal(directory), { code: 'file_unreadable', message: /authority/ });
  } finally {
    await directory.close();
  }
});

test('keys are not kept behind a symbolic link, and what it leads to stays as it is', async () => {
  await using folder = await tempFolder();
  const directory = await openDataDirectory(join(folder.path, 'data'));
  try {
    const elsewhere = join(folder.path, 'elsewhere');
    await mkdir(elsewhere, { mode: 0o755 });
    await symlink(elsewhere, join(directory.path, 'authority'));
    await assert.rejects(openAuthorityJournal(directory), { code: 'file_unreadable', message: /authority/ });
    assert.equal((await stat(elsewhere)).mode & 0o777, 0o755);
  } finally {
    await directory.close();
  }
});
