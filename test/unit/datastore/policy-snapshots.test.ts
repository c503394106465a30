import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createCompiledPolicies, createPolicySnapshots } from '../../../src/datastore/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const close = (): Promise<void> => Promise.resolve();
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

test('the last ten states of each policy are there, the one that was used again among them', async () => {
  await using folder = await tempFolder();
  const snapshots = createPolicySnapshots({ path: folder.path, close }, { policies: ['a', 'b'] });
  await snapshots.save('b', 'd0', text('b'));
  for (let number = 0; number < 10; number += 1) await snapshots.save('a', `d${number}`, text(String(number)));
  assert.deepEqual(await snapshots.load('a', 'd0'), Buffer.from('0'));
  await snapshots.save('a', 'd10', text('10'));
  assert.equal(await snapshots.has('a', 'd0'), true);
  assert.equal(await snapshots.has('a', 'd1'), false);
  assert.equal(await snapshots.has('b', 'd0'), true);
  assert.equal((await stat(join(folder.path, 'policies/history'))).mode & 0o777, 0o700);
});

test('they lie beside the compiled policies, which leave them alone', async () => {
  await using folder = await tempFolder();
  const directory = { path: folder.path, close };
  await createPolicySnapshots(directory, { policies: ['a'] }).save('a', 'd1', text('1'));
  await createCompiledPolicies(directory, { policies: ['a'] }).save('a', 'k', text('compiled'));
  assert.equal(await createPolicySnapshots(directory, { policies: ['a'] }).has('a', 'd1'), true);
  assert.equal((await readdir(join(folder.path, 'policies'))).length, 2);
});
