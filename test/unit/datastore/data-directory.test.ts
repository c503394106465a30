import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDataDirectory, openPrivateFolder } from '../../../src/datastore/index.ts';
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
    await mkdir(join(folder.path, 'keys'));
    await chown(join(folder.path, 'keys'), 65_534, 65_534);
    await assert.rejects(openPrivateFolder(join(directory.path, 'keys')), { code: 'file_unreadable', message: /keys/ });
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
    await symlink(elsewhere, join(directory.path, 'keys'));
    await assert.rejects(openPrivateFolder(join(directory.path, 'keys')), { code: 'file_unreadable', message: /keys/ });
    assert.equal((await stat(elsewhere)).mode & 0o777, 0o755);
  } finally {
    await directory.close();
  }
});
