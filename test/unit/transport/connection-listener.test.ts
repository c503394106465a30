import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { noMetrics, silentLogger } from '../../../src/core/index.ts';
import { listen } from '../../../src/transport/connection-listener.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { waitUntil } from '../../support/wait-until.ts';

async function connectTo(path: string): Promise<Socket> {
  const socket = createConnection(path);
  socket.on('error', () => undefined).resume();
  await once(socket, 'connect');
  return socket;
}

test('one user cannot take all connections; one that ends makes room', { timeout: 10_000 }, async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 's');
  let uid = 1;
  let closed = 0;
  const warnings: string[] = [];
  const accepted: Socket[] = [];
  const listener = await listen({
    name: 'test',
    address: { kind: 'unix', path, mode: 0o700 },
    identify: () => ({ pid: 1, uid, gid: 1, exited: new AbortController().signal, close: () => (closed += 1) }),
    onConnection: (socket) => void accepted.push(socket),
    maxConnections: 4,
    logger: { ...silentLogger, warn: (_, message) => void warnings.push(message) },
    metrics: noMetrics,
  });
  try {
    const [first] = [await connectTo(path), await connectTo(path)];
    await once(await connectTo(path), 'close');
    assert.deepEqual([accepted.length, closed, warnings], [2, 1, ['connection refused: too many of one user']]);
    uid = 2;
    await connectTo(path);
    await connectTo(path);
    await once(await connectTo(path), 'close'); // the limit for all
    first?.destroy();
    await once(accepted[0]!, 'close');
    uid = 1;
    const again = await connectTo(path);
    await waitUntil('the fifth to be accepted', 5000, () => accepted.length === 5);
    assert.equal(again.destroyed, false);
  } finally {
    await listener.close();
  }
});

test('a thousand callers that connect at once all get through', { timeout: 30_000 }, async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 's');
  let accepted = 0;
  const listener = await listen({
    name: 'test',
    address: { kind: 'unix', path, mode: 0o700 },
    identify: () => ({ pid: 1, uid: 1, gid: 1, exited: new AbortController().signal, close: () => undefined }),
    onConnection: () => void (accepted += 1),
    logger: silentLogger,
    metrics: noMetrics,
  });
  const failures: string[] = [];
  try {
    // Nothing is accepted in between, since both ends are in this process: all of them wait in the kernel.
    for (let count = 0; count < 1000; count += 1) {
      createConnection(path).on('error', (error: NodeJS.ErrnoException) => void failures.push(error.code ?? ''));
    }
    await waitUntil('all to be accepted', 20_000, () => accepted + failures.length >= 1000);
    assert.deepEqual(failures, []);
  } finally {
    await listener.close();
  }
});
