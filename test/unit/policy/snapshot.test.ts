import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { SvidgateError, type ErrorCode } from '../../../src/core/index.ts';
import { readSnapshot, SNAPSHOT_LIMITS } from '../../../src/policy/snapshot.ts';
import { withoutPrivilege } from '../../support/unprivileged.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'svidgate-snapshot-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function write(name: string, text: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), text);
}

async function assertRefused(code: ErrorCode, message: RegExp, limits = SNAPSHOT_LIMITS): Promise<void> {
  await assert.rejects(readSnapshot(folder, limits), (error) => {
    assert.ok(error instanceof SvidgateError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.ok(error.message.includes(folder), 'the message names the path');
    return true;
  });
}

describe('readSnapshot', () => {
  test('takes Rego and data documents of all folders, tests apart, and nothing else', async () => {
    await write('authz.rego', 'package a');
    await write('authz_test.rego', 'package a_test');
    await write('data.yaml', 'x: 1');
    await write('deep/er/data.json', '{}');
    await write('deep/er/rules.rego', 'package b');
    await write('README.md', 'text');
    await write('other.json', '{}');
    const { files, tests } = await readSnapshot(folder);
    assert.deepEqual(files, {
      modules: { 'authz.rego': 'package a', 'deep/er/rules.rego': 'package b' },
      data: { 'data.yaml': 'x: 1', 'deep/er/data.json': '{}' },
    });
    assert.deepEqual(tests, { 'authz_test.rego': 'package a_test' });
  });

  test('takes a single .rego file', async () => {
    await write('authz.rego', 'package a');
    const { files } = await readSnapshot(join(folder, 'authz.rego'));
    assert.deepEqual(files, { modules: { 'authz.rego': 'package a' }, data: {} });
  });

  test('gives the same digest for the same files, and another after any change but to tests', async () => {
    await write('authz.rego', 'package a');
    const first = (await readSnapshot(folder)).digest;
    assert.match(first, /^[0-9a-f]{64}$/);
    await write('authz_test.rego', 'package a_test');
    await write('notes.txt', 'x');
    assert.equal((await readSnapshot(folder)).digest, first);
    await write('data.json', '{}');
    const second = (await readSnapshot(folder)).digest;
    assert.notEqual(second, first);
    await rename(join(folder, 'authz.rego'), join(folder, 'b.rego'));
    assert.notEqual((await readSnapshot(folder)).digest, second);
  });

  test('reads a Kubernetes mount once: links to files in ..data, and its swap as a change', async () => {
    await write('..v1/authz.rego', 'package a');
    await write('..v2/authz.rego', 'package a # 2');
    await symlink('..v1', join(folder, '..data'));
    await symlink('..data/authz.rego', join(folder, 'authz.rego'));
    assert.deepEqual((await readSnapshot(folder)).files.modules, { 'authz.rego': 'package a' });
    await symlink('..v2', join(folder, '..tmp'));
    await rename(join(folder, '..tmp'), join(folder, '..data'));
    assert.deepEqual((await readSnapshot(folder)).files.modules, { 'authz.rego': 'package a # 2' });
  });

  test('does not follow links to folders, so that a loop ends', async () => {
    await write('authz.rego', 'package a');
    await symlink('.', join(folder, 'loop'));
    await symlink('.', join(folder, 'loop.rego'));
    assert.deepEqual(Object.keys((await readSnapshot(folder)).files.modules), ['authz.rego']);
  });

  test('refuses a folder without Rego', async () => {
    await write('data.json', '{}');
    await assertRefused('policy_invalid', /has no \.rego file/);
  });

  test('refuses text that is not UTF-8', async () => {
    await write('authz.rego', Buffer.from([0x70, 0xff, 0xfe]));
    await assertRefused('policy_invalid', /authz\.rego is not UTF-8/);
  });

  test('refuses too many files, bytes and levels', async () => {
    await write('a/b/c.rego', 'package a');
    await write('d.rego', 'package d');
    await assertRefused('policy_invalid', /more than 1 policy files/, { ...SNAPSHOT_LIMITS, maxFiles: 1 });
    await assertRefused('policy_invalid', /more than 10 bytes/, { ...SNAPSHOT_LIMITS, maxBytes: 10 });
    await assertRefused('policy_invalid', /nested deeper than 1/, { ...SNAPSHOT_LIMITS, maxDepth: 1 });
  });

  test('names what cannot be read', async () => {
    await symlink('nowhere.rego', join(folder, 'authz.rego'));
    await assertRefused('file_unreadable', /authz\.rego cannot be read: ENOENT/);
    await rm(folder, { recursive: true });
    await assertRefused('file_unreadable', /cannot be read: ENOENT/);
  });

  test('does not open a pipe', async () => {
    execFileSync('mkfifo', [join(folder, 'authz.rego')]);
    await assertRefused('file_unreadable', /authz\.rego is not a file/);
  });

  test('names a file without permission', async () => {
    await write('authz.rego', 'package a');
    await chmod(join(folder, 'authz.rego'), 0);
    await chmod(folder, 0o755);
    await withoutPrivilege(() => assertRefused('file_unreadable', /authz\.rego cannot be read: EACCES/));
  });

  test('names a folder without permission', async () => {
    await write('authz.rego', 'package a');
    await chmod(folder, 0o700);
    await withoutPrivilege(() => assertRefused('file_unreadable', /cannot be read: EACCES/));
  });
});
