import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createBackoff, fileChanges, systemClock, writeFileAtomic } from '../../../src/core/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

test('an atomic write replaces the file with its mode and leaves nothing beside it', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'key.pem');
  await writeFileAtomic(path, 'old', 0o644);
  await writeFileAtomic(path, 'new', 0o600);
  assert.equal(await readFile(path, 'utf8'), 'new');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(folder.path), ['key.pem']);
});

test('an atomic write that fails leaves the old file and nothing beside it', async () => {
  await using folder = await tempFolder();
  await mkdir(join(folder.path, 'taken'));
  await assert.rejects(writeFileAtomic(join(folder.path, 'taken'), 'text', 0o600));
  assert.deepEqual(await readdir(folder.path), ['taken']);
});

/** What a reader of fileChanges sees: the content after each hint, until it is the one wanted. */
async function readUntil(path: string, wanted: string, change: () => Promise<void>): Promise<number> {
  const stop = new AbortController();
  const changes = fileChanges(path, { clock: systemClock, signal: stop.signal, pollMs: 400 });
  const file = path.endsWith('.yaml') ? path : join(path, 'a.yaml');
  const started = performance.now();
  const reading = (async () => {
    for await (const _ of changes) if ((await readFile(file, 'utf8').catch(() => '')) === wanted) return;
  })();
  await change();
  await reading;
  stop.abort();
  return performance.now() - started;
}

test('a change of a file, in place or by a rename, is told', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'a.yaml');
  await writeFile(path, '1');
  await readUntil(path, '2', () => writeFile(path, '2'));
  await readUntil(path, '3', async () => {
    await writeFile(join(folder.path, 'b.tmp'), '3');
    await rename(join(folder.path, 'b.tmp'), path);
  });
});

test('a file that comes later, in a folder that comes later, is told', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'later');
  await readUntil(path, '1', async () => {
    await mkdir(path);
    await writeFile(join(path, 'a.yaml'), '1');
  });
});

test('a folder behind a symbolic link that is swapped is told, as Kubernetes mounts are', async () => {
  await using folder = await tempFolder();
  for (const version of ['1', '2']) {
    await mkdir(join(folder.path, version));
    await writeFile(join(folder.path, version, 'a.yaml'), version);
  }
  const link = join(folder.path, 'current');
  await symlink('1', link);
  await readUntil(link, '2', async () => {
    await symlink('2', join(folder.path, 'next'));
    await rename(join(folder.path, 'next'), link);
  });
});

test('waiting for changes ends with the signal, also when the folder is gone', async () => {
  await using folder = await tempFolder();
  await rm(folder.path, { recursive: true });
  const stop = new AbortController();
  const changes = fileChanges(folder.path, { clock: systemClock, signal: stop.signal });
  const next = changes.next();
  stop.abort();
  assert.equal((await next).done, true);
});

test('backoff doubles up to its limit, shortened by at most a half, and starts anew after a reset', () => {
  const full = createBackoff({ baseMs: 100, maxMs: 1000, random: () => 0 });
  assert.deepEqual([full.next(), full.next(), full.next(), full.next(), full.next()], [100, 200, 400, 800, 1000]);
  full.reset();
  assert.equal(full.next(), 100);
  const short = createBackoff({ baseMs: 100, maxMs: 1000, random: () => 1 });
  assert.equal(short.next(), 50);
});

test('a wait longer than a timer can hold does not fire at once, and ends with its signal', async () => {
  const stop = new AbortController();
  let fired = false;
  const sleeping = systemClock.sleep(2 ** 40, stop.signal).then(
    () => (fired = true),
    (error: Error) => error.name,
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(fired, false);
  stop.abort();
  assert.equal(await sleeping, 'AbortError');
});
