import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, link, readFile, readlink, rename } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { connect } from '../support/grpc-client.ts';
import { lendConnection, type LentConnection } from '../support/lent-connection.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const socketOf = (server: TestServer): string => server.socket.slice('unix:'.length);

/** The selectors that were found for a process. */
function selectorsOf(server: TestServer, pid: number): Promise<readonly string[]> {
  return waitUntil(
    'the caller to be attested',
    20_000,
    () => server.lines.findLast((line) => line.message === 'caller attested' && line.caller_pid === pid)?.selectors,
  );
}

/** A call that is answered at once. */
async function fetchSecrets(connection: LentConnection): Promise<{ readonly status: string; readonly bytes: number }> {
  connection.call('FetchSecrets');
  const { status: code = '', bytes = 0 } = await connection.next();
  return { status: code, bytes };
}

/** A Node under a name of its own. */
async function nodeAt(path: string): Promise<string> {
  await link(process.execPath, path).catch(() => copyFile(process.execPath, path)); // another file system
  return path;
}

test('user, group, path and hash of the program are found, for the name it was started by', async () => {
  await using server = await startTestServer();
  const executable = await nodeAt(join(server.folder, 'a name with spaces'));
  await using connection = await lendConnection(socketOf(server), executable);
  connection.call('FetchSecrets');
  const { uid, gid, username } = userInfo();
  const found = await selectorsOf(server, connection.pid);
  const hash = createHash('sha256')
    .update(await readFile(process.execPath))
    .digest('hex');
  for (const selector of [
    `unix:uid:${uid}`,
    `unix:gid:${gid}`,
    `unix:user:${username}`,
    `unix:path:${executable}`,
    `unix:sha256:${hash}`,
  ]) {
    assert.ok(found.includes(selector), `${selector} among ${found.join(' ')}`);
  }
  assert.equal((await connection.next()).status, '0');
});

test('a process that ended leaves nothing to who holds its connection', async () => {
  await using server = await startTestServer();
  using other = connect(server.socket);
  await using connection = await lendConnection(socketOf(server));
  connection.call('StreamSecrets');
  assert.equal((await connection.next()).kind, 'received');
  await connection.exit();
  const { kind, status: code } = await connection.next();
  assert.deepEqual([kind, code], ['ended', String(status.UNAVAILABLE)]);
  await server.write('entries.yaml', entriesFor('/changed'));
  const { status: later, bytes } = await fetchSecrets(connection);
  assert.notEqual(later, '0');
  assert.equal(bytes, 0);
  await waitUntil('other callers to see the change', 5000, async () => {
    const { resources } = await other.fetchSecrets(['spiffe://example.test/changed']);
    return resources.length === 1;
  });
});

test('a process that becomes another program after it was attested receives nothing more', async () => {
  await using server = await startTestServer();
  await using connection = await lendConnection(socketOf(server));
  connection.call('StreamSecrets');
  assert.equal((await connection.next()).kind, 'received');
  assert.equal((await fetchSecrets(connection)).status, '0');
  connection.become();
  const node = await readlink(`/proc/${process.pid}/exe`);
  await waitUntil('the exec', 5000, async () => (await readlink(`/proc/${connection.pid}/exe`)) !== node);
  await server.write('entries.yaml', entriesFor('/changed'));
  const { kind, status: code } = await connection.next();
  assert.deepEqual([kind, code], ['ended', String(status.UNAVAILABLE)]);
  assert.deepEqual(await fetchSecrets(connection), { status: String(status.UNAVAILABLE), bytes: 0 });
});

test('a process that becomes another program before it asks is refused', async () => {
  await using server = await startTestServer();
  await using connection = await lendConnection(socketOf(server));
  connection.become();
  const node = await readlink(`/proc/${process.pid}/exe`);
  await waitUntil('the exec', 5000, async () => (await readlink(`/proc/${connection.pid}/exe`)) !== node);
  assert.deepEqual(await fetchSecrets(connection), { status: String(status.UNAVAILABLE), bytes: 0 });
});

test('a process that ends while it is attested is refused, and others are served', async () => {
  await using server = await startTestServer();
  using other = connect(server.socket);
  // A copy is another file: it must be hashed, which takes a while.
  const executable = join(server.folder, 'copy');
  await copyFile(process.execPath, executable);
  await using connection = await lendConnection(socketOf(server), executable);
  connection.call('FetchSecrets');
  const exit = connection.exit();
  const { status: code, bytes } = await connection.next();
  await exit;
  // It may have been quicker than the end.
  if (code === '0') assert.ok(bytes !== undefined && bytes > 0);
  else assert.deepEqual([code, bytes], [String(status.UNAVAILABLE), 0]);
  assert.equal((await other.fetchSecrets(['default'])).resources.length, 1);
});

test('a path that a process mounted for itself is not believed', async (t) => {
  await using server = await startTestServer();
  const claimed = await nodeAt(join(server.folder, 'trusted'));
  const own = join(server.folder, 'own');
  await copyFile(process.execPath, own);
  // A user namespace of its own, in which it is root: mounts its own file over the other one, and runs that.
  const script = `mount --bind ${own} ${claimed} && exec ${claimed} --eval '
    const session = require("http2").connect("http://svidgate", {
      createConnection: () => require("net").connect(process.argv[1]),
    });
    const path = "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";
    session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc" }).end(Buffer.alloc(5));
  ' ${socketOf(server)}`;
  const child = spawn('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', script]);
  const ended = once(child, 'close');
  try {
    let complaint = '';
    child.stderr.on('data', (piece: Buffer) => (complaint += piece.toString()));
    const failed = once(child, 'exit').then(() => undefined);
    const found = await Promise.race([selectorsOf(server, child.pid ?? 0), failed]);
    if (found === undefined) return t.skip(`no user namespaces here: ${complaint}`);
    assert.deepEqual(
      found.filter((selector) => selector.startsWith('unix:path:')),
      [],
    );
    assert.ok(found.some((selector) => selector.startsWith('unix:sha256:')));
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
});

test('a program replaced on disk keeps its identity on open connections', async () => {
  await using server = await startTestServer();
  const executable = join(server.folder, 'program');
  await copyFile(process.execPath, executable);
  await using connection = await lendConnection(socketOf(server), executable);
  assert.equal((await fetchSecrets(connection)).status, '0');
  await copyFile('/bin/sleep', `${executable}.new`);
  await rename(`${executable}.new`, executable);
  assert.equal((await fetchSecrets(connection)).status, '0');
});
