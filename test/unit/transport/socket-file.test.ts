import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { renameSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { SvidgateError } from '../../../src/core/index.ts';
import { bind } from '../../../src/transport/bind.ts';
import { prepareSocketPath } from '../../../src/transport/socket-file.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const hangUp = (socket: Socket): void => void socket.end();

/** Servers that are closed however the test ends. */
function closing(...list: Server[]): AsyncDisposable & { readonly list: readonly Server[] } {
  return {
    list,
    async [Symbol.asyncDispose]() {
      await Promise.all(list.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

/** A socket file whose process was killed. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', script]), 'exit');
  assert.ok((await stat(path)).isSocket());
}

test('a missing folder is made, and a stale socket removed without a trace', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'run/s');
  await prepareSocketPath(path);
  await leaveStaleSocket(path);
  await prepareSocketPath(path);
  assert.deepEqual(await readdir(join(folder.path, 'run')), []);
});

test('a socket that answers is refused and goes on', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 's');
  await using servers = closing(createServer(hangUp));
  const [server] = servers.list;
  assert.ok(server);
  await bind(server, { kind: 'unix', path, mode: 0o777 });
  assert.equal((await stat(path)).mode & 0o777, 0o777);
  await assert.rejects(prepareSocketPath(path), {
    code: 'already_running',
    message: `socket ${path} is in use: another process answers on it`,
  });
  await once(createConnection(path), 'connect');
});

const strangers = [
  { name: 'a file', make: (path: string) => writeFile(path, 'precious') },
  { name: 'a folder', make: (path: string) => mkdir(path) },
  { name: 'a dangling link', make: (path: string) => symlink('nowhere', path) },
];

for (const { name, make } of strangers) {
  test(`${name} at the path is refused and stays`, async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 's');
    await make(path);
    await assert.rejects(prepareSocketPath(path), { code: 'address_in_use', message: /is not a socket/ });
    assert.deepEqual(await readdir(folder.path), ['s']);
    if (name === 'a file') assert.equal(await readFile(path, 'utf8'), 'precious');
  });
}

test('a path below a file is refused with its place', async () => {
  await using folder = await tempFolder();
  await writeFile(join(folder.path, 'file'), '');
  await assert.rejects(prepareSocketPath(join(folder.path, 'file/s')), { code: 'file_unreadable', message: /file\/s/ });
});

test('of two that find the same stale socket at once, at most one has it, and is reachable', async () => {
  await using folder = await tempFolder();
  for (let round = 0; round < 10; round += 1) {
    const path = join(folder.path, `s${round}`);
    await leaveStaleSocket(path);
    await using servers = closing(createServer(hangUp), createServer(hangUp));
    const results = await Promise.allSettled(
      servers.list.map((server) => bind(server, { kind: 'unix', path, mode: 0o777 })),
    );
    const bound = results.filter(({ status }) => status === 'fulfilled');
    assert.ok(bound.length <= 1);
    for (const result of results) {
      if (result.status === 'rejected') assert.ok(result.reason instanceof SvidgateError, String(result.reason));
    }
    if (bound.length === 1) await once(createConnection(path), 'connect');
  }
});

test('a socket that another process moves aside as it is made is refused, and nothing listens', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 's');
  await using servers = closing(createServer(hangUp));
  const [server] = servers.list;
  assert.ok(server);
  const listen = server.listen.bind(server);
  server.listen = ((options: { path: string }, listener: () => void) => {
    listen(options, listener);
    renameSync(path, `${path}.stale`);
    return server;
  }) as typeof server.listen;
  await assert.rejects(bind(server, { kind: 'unix', path, mode: 0o777 }), {
    code: 'already_running',
    message: `socket ${path} is in use: another process took it`,
  });
  assert.equal(server.listening, false);
});
