import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAccountNames } from '../../../src/attestation/account-names.ts';
import { createExecutableDigests } from '../../../src/attestation/executable-digest.ts';
import { createUnixAttestor } from '../../../src/attestation/index.ts';
import { readOwner, readSupplementaryGroups } from '../../../src/attestation/process-files.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { never, ownPeer, processOf } from '../../support/own-peer.ts';

const settings = { discoverWorkloadPath: true, executableDigest: { kind: 'off' } } as const;

test('user, group and path are those of the caller, with their names', async () => {
  await using own = await ownPeer();
  const values = await createUnixAttestor(settings).attest(own.tracker.trackedProcess(own.peer), never);
  const user = (await createAccountNames('/etc/passwd')()).get(String(process.geteuid?.()));
  assert.ok(values.includes(`uid:${process.geteuid?.()}`));
  assert.ok(values.includes(`gid:${process.getegid?.()}`));
  assert.ok(values.includes(`path:${process.execPath}`));
  assert.equal(
    values.find((value) => value.startsWith('user:')),
    user === undefined ? undefined : `user:${user}`,
  );
  assert.ok(!values.some((value) => value.startsWith('sha256:')));
});

test('each supplementary group is given by id, and by name where it has one', async () => {
  const values = await createUnixAttestor(settings).attest(processOf(process.pid), never);
  const ids = values.flatMap((value) => (value.startsWith('supplementary_gid:') ? [value.slice(18)] : []));
  const own = (process.getegid?.() ?? 0).toString(); // Node adds it to the groups whether it is among them or not
  const groups = (process.getgroups?.() ?? []).map(String);
  assert.deepEqual([...new Set([...ids, own])].sort(), [...new Set([...groups, own])].sort());
  const names = await createAccountNames('/etc/group')();
  assert.deepEqual(
    values.flatMap((value) => (value.startsWith('supplementary_group:') ? [value.slice(20)] : [])),
    ids.flatMap((id) => names.get(id) ?? []),
  );
});

test('the supplementary groups of another process are its own', async () => {
  const isRoot = process.geteuid?.() === 0;
  const script = `${isRoot ? 'process.setgroups([1, 4, 70000]);' : ''} process.stdin.resume(); console.log('on');`;
  const child = spawn(process.execPath, ['--eval', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  try {
    await once(child.stdout, 'data');
    const expected = isRoot ? ['1', '4', '70000'] : readSupplementaryGroups(process.pid);
    assert.deepEqual(readSupplementaryGroups(child.pid ?? 0), expected);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
});

test('a caller without a pid has the selectors of its user and group alone', async () => {
  const values = await createUnixAttestor(settings).attest(processOf(0), never);
  assert.deepEqual(
    values.map((value) => value.split(':')[0]).filter((kind) => kind !== 'user' && kind !== 'group'),
    ['uid', 'gid'],
  );
});

test('the owner of a process is its effective user and group', () => {
  assert.deepEqual(readOwner(process.pid), { uid: process.geteuid?.(), gid: process.getegid?.() });
  assert.throws(() => readOwner(2 ** 22 + 1));
});

test('names are read again when the file changed; the first of an id counts, and lines that are none are passed over', async () => {
  await using folder = await tempFolder();
  const file = join(folder.path, 'passwd');
  const names = createAccountNames(file);
  assert.equal((await names()).size, 0);
  await writeFile(file, '# comment\n\nroot:x:0:0::/root:/bin/sh\ntoor:x:0:0\n:x:5:\nbad:x:-1:\nlast:x:7');
  assert.deepEqual(
    [...(await names())],
    [
      ['0', 'root'],
      ['7', 'last'],
    ],
  );
  await rm(file);
  assert.equal((await names()).size, 0);
});

test('a hash that nobody waits for any more ends, and the next of that user is right', async () => {
  const digests = createExecutableDigests(Number.MAX_SAFE_INTEGER);
  const gone = new AbortController();
  const request = { pid: process.pid, uid: 0, signal: gone.signal };
  const abandoned = digests.digest(request);
  gone.abort(new Error('gone'));
  await assert.rejects(abandoned, { message: 'gone' });
  const { sha256 } = await digests.digest({ ...request, signal: never });
  const expected = createHash('sha256').update(await readFile(process.execPath));
  assert.equal(sha256, expected.digest('hex'));
});

test('users who ask for the same file at once share one hash, and need not fear that one of them leaves', async () => {
  const digests = createExecutableDigests(Number.MAX_SAFE_INTEGER);
  const gone = new AbortController();
  const first = digests.digest({ pid: process.pid, uid: 1, signal: gone.signal });
  const others = Array.from({ length: 20 }, (_, uid) => digests.digest({ pid: process.pid, uid, signal: never }));
  gone.abort(new Error('gone'));
  await assert.rejects(first, { message: 'gone' });
  const [expected, ...rest] = await Promise.all(others);
  assert.match(expected?.sha256 ?? '', /^[0-9a-f]{64}$/);
  assert.ok(rest.every(({ sha256 }) => sha256 === expected?.sha256));
});

test('an executable over the limit has no hash', async () => {
  const request = { pid: process.pid, uid: 0, signal: never };
  assert.equal((await createExecutableDigests(1000).digest(request)).sha256, undefined);
});
