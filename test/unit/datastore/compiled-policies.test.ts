import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createCompiledPolicies, type CompiledPolicies } from '../../../src/datastore/index.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';

const TEXT = new TextEncoder();
let folder: TempFolder;
let policies: string;

beforeEach(async () => {
  folder = await tempFolder();
  policies = join(folder.path, 'policies');
});
afterEach(() => folder[Symbol.asyncDispose]());

function open(names: readonly string[], limits: { maxFiles?: number; maxBytes?: number } = {}): CompiledPolicies {
  const directory = { path: folder.path, close: () => Promise.resolve() };
  return createCompiledPolicies(directory, { policies: names, ...limits });
}

async function save(store: CompiledPolicies, policy: string, ...keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    await store.save(policy, key, TEXT.encode(`${policy} ${key}`));
    await setAge(policy, key, 100 - keys.indexOf(key));
  }
}

/** When the file was used last, in seconds before now. */
async function setAge(policy: string, key: string, seconds: number): Promise<void> {
  const at = new Date(Date.now() - seconds * 1000);
  await utimes(fileOf(policy, key), at, at);
}

function fileOf(policy: string, key: string): string {
  const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
  return join(policies, `${sha256(policy).slice(0, 16)}-${sha256(key)}`);
}

async function load(store: CompiledPolicies, policy: string, key: string): Promise<string | undefined> {
  const bytes = await store.load(policy, key);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

test('a compiled policy is given back under its policy and key only, also by the next process', async () => {
  await save(open(['a', 'b']), 'a', 'k1');
  const store = open(['a', 'b']);
  assert.equal(await load(store, 'a', 'k1'), 'a k1');
  assert.equal(await load(store, 'a', 'k2'), undefined);
  assert.equal(await load(store, 'b', 'k1'), undefined);
});

test('files are 0600 in a folder 0700, their names made of hashes alone', async () => {
  await save(open(['../a']), '../a', '../../k');
  const names = await readdir(policies);
  assert.match(names.join(), /^[0-9a-f]{16}-[0-9a-f]{64}$/);
  assert.equal((await stat(policies)).mode & 0o777, 0o700);
  assert.equal((await stat(join(policies, names[0] ?? ''))).mode & 0o777, 0o600);
});

test('of each policy those used last are kept', async () => {
  const store = open(['a', 'b'], { maxFiles: 2 });
  await save(store, 'b', 'k1');
  await save(store, 'a', 'k1', 'k2');
  assert.equal(await load(store, 'a', 'k1'), 'a k1'); // makes k2 the one used least recently
  await save(store, 'a', 'k3');
  assert.equal(await load(store, 'a', 'k2'), undefined);
  assert.equal(await load(store, 'a', 'k1'), 'a k1');
  assert.equal(await load(store, 'a', 'k3'), 'a k3');
  assert.equal(await load(store, 'b', 'k1'), 'b k1');
});

test('all files of a policy together stay below the limit, and a larger one is refused', async () => {
  const store = open(['a'], { maxBytes: 10 });
  await save(store, 'a', 'k1', 'k2', 'k3');
  assert.deepEqual(await Promise.all(['k1', 'k2', 'k3'].map((key) => load(store, 'a', key))), [
    undefined,
    'a k2',
    'a k3',
  ]);
  await assert.rejects(store.save('a', 'k4', new Uint8Array(11)), { code: 'too_large' });
});

test('what belongs to no configured policy is removed, such as the rest of a crash', async () => {
  await save(open(['gone']), 'gone', 'k1');
  await writeFile(join(policies, `.${'0'.repeat(16)}-x.tmp`), 'half');
  await mkdir(join(policies, 'folder'));
  const store = open(['a']);
  await Promise.all(['k1', 'k2', 'k3'].map((key) => store.save('a', key, new Uint8Array(1))));
  assert.deepEqual((await readdir(policies)).length, 3);
});

test('a file that is too large or cannot be read is an error with its path', async () => {
  const store = open(['a'], { maxBytes: 10 });
  await save(store, 'a', 'k1');
  await writeFile(fileOf('a', 'k1'), 'more than ten bytes');
  await assert.rejects(store.load('a', 'k1'), { code: 'file_unreadable', message: /policies\/[0-9a-f-]+ cannot be/ });
  await mkdir(fileOf('a', 'k2'));
  await assert.rejects(store.load('a', 'k2'), { code: 'file_unreadable' });
});

test('a folder that cannot be made is an error', async () => {
  const path = join(folder.path, 'file/data');
  await writeFile(join(folder.path, 'file'), '');
  const store = createCompiledPolicies({ path, close: () => Promise.resolve() }, { policies: ['a'] });
  await assert.rejects(store.save('a', 'k', new Uint8Array(1)));
  await assert.rejects(store.load('a', 'k'), { code: 'file_unreadable' });
});
