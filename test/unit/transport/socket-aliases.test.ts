import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdir, readdir, readFile, readlink, rename, symlink, unlink, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { bind, type Binding } from '../../../src/transport/bind.ts';
import { linkSocketAliases } from '../../../src/transport/socket-aliases.ts';
import { startGrpcServer, type GrpcServer } from '../../../src/transport/index.ts';
import { noMetrics, silentLogger } from '../../../src/core/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const ALIASES = ['socket', 'spire-agent.sock'];

interface Bound extends AsyncDisposable {
  readonly server: Server;
  readonly binding: Binding;
}

/** A server that greets with its name, on a socket with aliases. */
async function bindWith(path: string, aliases: readonly string[], name = 'ours'): Promise<Bound> {
  const server = createServer((socket) => void socket.on('error', () => undefined).end(name));
  const binding = await bind(server, { kind: 'unix', path, mode: 0o777, aliases });
  return {
    server,
    binding,
    async [Symbol.asyncDispose]() {
      binding.aliases.remove();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function greetingAt(path: string): Promise<string> {
  const socket = createConnection(path);
  let text = '';
  socket.setEncoding('utf8').on('data', (part: string) => (text += part));
  await once(socket, 'close');
  return text;
}

/** A socket file whose process was killed. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', script]), 'exit');
  assert.ok((await lstat(path)).isSocket());
}

test('a socket answers under all of its names, also where its folder is moved to, and leaves none behind', async () => {
  await using folder = await tempFolder();
  const run = join(folder.path, 'run');
  {
    await using _ = await bindWith(join(run, 'api.sock'), ALIASES);
    assert.deepEqual((await readdir(run)).sort(), ['api.sock', 'socket', 'spire-agent.sock']);
    for (const name of ALIASES) {
      assert.equal(await readlink(join(run, name)), 'api.sock');
      assert.equal(await greetingAt(join(run, name)), 'ours');
    }
    await rename(run, join(folder.path, 'elsewhere'));
    for (const name of ALIASES) assert.equal(await greetingAt(join(folder.path, 'elsewhere', name)), 'ours');
    await rename(join(folder.path, 'elsewhere'), run);
  }
  assert.deepEqual(await readdir(run), []);
});

test('links to the socket that a killed process left are taken over', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'api.sock');
  await leaveStaleSocket(path);
  await symlink('api.sock', join(folder.path, 'relative'));
  await symlink(path, join(folder.path, 'absolute'));
  await using _ = await bindWith(path, ['relative', 'absolute']);
  for (const name of ['relative', 'absolute']) {
    assert.equal(await readlink(join(folder.path, name)), 'api.sock');
    assert.equal(await greetingAt(join(folder.path, name)), 'ours');
  }
  assert.deepEqual((await readdir(folder.path)).sort(), ['absolute', 'api.sock', 'relative']);
});

test('a socket that nobody answers on is replaced', async () => {
  await using folder = await tempFolder();
  await leaveStaleSocket(join(folder.path, 'socket'));
  await using _ = await bindWith(join(folder.path, 'api.sock'), ['socket']);
  assert.equal(await greetingAt(join(folder.path, 'socket')), 'ours');
});

test('a socket that answers is refused and goes on, and nothing of ours stays', async () => {
  await using folder = await tempFolder();
  await using _ = await bindWith(join(folder.path, 'socket'), [], 'theirs');
  await assert.rejects(bindWith(join(folder.path, 'api.sock'), ['first', 'socket']), {
    code: 'already_running',
    message: `socket ${join(folder.path, 'socket')} is in use: another process answers on it`,
  });
  assert.deepEqual(await readdir(folder.path), ['socket']);
  assert.equal(await greetingAt(join(folder.path, 'socket')), 'theirs');
});

const STRANGERS: readonly {
  readonly name: string;
  readonly make: (path: string) => Promise<unknown>;
  readonly message: RegExp;
}[] = [
  { name: 'a file', make: (path) => writeFile(path, 'precious'), message: /socket exists and is not a socket/ },
  { name: 'a folder', make: (path) => mkdir(path), message: /socket exists and is not a socket/ },
  {
    name: 'a link elsewhere',
    make: (path) => symlink('/run/other.sock', path),
    message: /socket exists and is a link to \/run\/other\.sock/,
  },
  {
    name: 'a link to the same name in another folder',
    make: (path) => symlink('../api.sock', path),
    message: /socket exists and is a link to \.\.\/api\.sock/,
  },
];

for (const { name, make, message } of STRANGERS) {
  test(`${name} is refused and stays, and nothing of ours does`, async () => {
    await using folder = await tempFolder();
    const alias = join(folder.path, 'socket');
    await make(alias);
    const before = await lstat(alias);
    await assert.rejects(bindWith(join(folder.path, 'api.sock'), ['first', 'socket']), {
      code: 'address_in_use',
      message,
    });
    assert.deepEqual(await readdir(folder.path), ['socket']);
    assert.equal((await lstat(alias)).ino, before.ino);
    if (name === 'a file') assert.equal(await readFile(alias, 'utf8'), 'precious');
  });
}

test('a link in a folder that cannot be written is a clear error', async () => {
  // Nobody may make files in /proc, root neither.
  await assert.rejects(linkSocketAliases('/proc/self/api.sock', ['socket']), {
    code: 'file_unreadable',
    message: '/proc/self/socket cannot be made a link to the socket',
  });
});

test('what somebody else put in the place of a link stays when the server stops', async () => {
  await using folder = await tempFolder();
  {
    await using _ = await bindWith(join(folder.path, 'api.sock'), ALIASES);
    await unlink(join(folder.path, 'socket'));
    await writeFile(join(folder.path, 'socket'), 'theirs');
    await unlink(join(folder.path, 'spire-agent.sock'));
    await symlink('their.sock', join(folder.path, 'spire-agent.sock'));
  }
  assert.deepEqual((await readdir(folder.path)).sort(), ['socket', 'spire-agent.sock']);
});

test('a gRPC server has the aliases of its address until it stops', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'api.sock');
  const start = (): Promise<GrpcServer> =>
    startGrpcServer({
      name: 'workload',
      address: { kind: 'unix', path, mode: 0o777, aliases: ALIASES },
      methods: [],
      identify: () => {
        throw new Error('nobody is known');
      },
      maxMessageBytes: 1024,
      logger: silentLogger,
      metrics: noMetrics,
    });
  const server = await start();
  for (const name of ALIASES) await greetingAt(join(folder.path, name));
  await assert.rejects(start(), { code: 'already_running' });
  assert.equal((await readdir(folder.path)).length, 3, 'a second server takes nothing away');
  await server.stop(0);
  assert.deepEqual(await readdir(folder.path), []);
});
