import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createKeptBundleFiles, type KeptBundleFiles } from '../../../src/datastore/index.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';

let folder: TempFolder;
let bundles: string;

beforeEach(async () => {
  folder = await tempFolder();
  bundles = join(folder.path, 'bundles');
});
afterEach(() => folder[Symbol.asyncDispose]());

function open(policies: readonly string[], maxBytes?: number): KeptBundleFiles {
  const directory = { path: folder.path, close: () => Promise.resolve() };
  return createKeptBundleFiles(directory, { policies, ...(maxBytes === undefined ? {} : { maxBytes }) });
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function load(store: KeptBundleFiles, policy: string): Promise<string | undefined> {
  const found = await store.load(policy);
  return found === undefined ? undefined : new TextDecoder().decode(found.bytes);
}

test('what is saved is given back under its name alone, also to the next process', async () => {
  const store = open(['a', 'b']);
  assert.equal(await load(store, 'a'), undefined);
  await store.save('a', bytes('one'));
  await store.save('a', bytes('two'));
  assert.equal(await load(open(['a', 'b']), 'a'), 'two');
  assert.equal(await load(store, 'b'), undefined);
});

test('files are 0600 in a folder 0700, also where the folder was open to others', async () => {
  await mkdir(bundles);
  await chmod(bundles, 0o777);
  await open(['a']).save('a', bytes('one'));
  assert.equal((await stat(bundles)).mode & 0o777, 0o700);
  assert.equal((await stat(join(bundles, 'a'))).mode & 0o777, 0o600);
});

test('what a crash left, and what belongs to no policy any more, goes with the next save', async () => {
  await open(['a', 'b']).save('b', bytes('old'));
  await writeFile(join(bundles, '.a.0123.tmp'), 'half');
  const store = open(['a']);
  await store.save('a', bytes('one'));
  assert.deepEqual(await readdir(bundles), ['a']);
});

test('writes side by side are one after the other, and the last one counts', async () => {
  const store = open(['a', 'b']);
  await Promise.all([store.save('a', bytes('one')), store.save('b', bytes('two')), store.save('a', bytes('three'))]);
  assert.equal(await load(store, 'a'), 'three');
  assert.equal(await load(store, 'b'), 'two');
});

test('its time says when it was touched last', async () => {
  const store = open(['a']);
  await store.save('a', bytes('one'));
  const old = new Date(Date.UTC(2020, 0, 1));
  await utimes(join(bundles, 'a'), old, old);
  assert.equal((await store.load('a'))?.touchedAt, old.getTime());
  await store.touch('a');
  assert.ok(((await store.load('a'))?.touchedAt ?? 0) > old.getTime());
  await assert.rejects(store.touch('b'));
});

test('what is too large is neither written nor read', async () => {
  await open(['a']).save('a', bytes('four'));
  const store = open(['a'], 3);
  await assert.rejects(store.save('a', bytes('more')), { code: 'too_large' });
  await assert.rejects(store.load('a'), { code: 'file_unreadable' });
});

test('a link, or a name that is a path, is not followed', async () => {
  await writeFile(join(folder.path, 'secret'), 'secret');
  await mkdir(bundles, { mode: 0o700 });
  await symlink('../secret', join(bundles, 'a'));
  await assert.rejects(open(['a']).load('a'), { code: 'file_unreadable' });
  for (const name of ['../secret', '.a', 'a/b', ''])
    await assert.rejects(open([name]).load(name), { code: 'internal' });
});
