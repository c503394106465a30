import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createPeerTracker, openKernel, type PeerTracker, type TrackedProcess } from '../../src/attestation/index.ts';
import { SvidgateError } from '../../src/core/index.ts';
import type { PeerProcess } from '../../src/transport/index.ts';
import { tempFolder } from './temp-folder.ts';

export interface OwnPeer extends AsyncDisposable {
  readonly tracker: PeerTracker;
  /** This very process, as the other end of a real connection. */
  readonly peer: PeerProcess;
}

export async function ownPeer(): Promise<OwnPeer> {
  const folder = await tempFolder();
  const path = join(folder.path, 's');
  const server = createServer();
  server.listen(path);
  await once(server, 'listening');
  const client = createConnection(path);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const tracker = createPeerTracker(openKernel());
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  return {
    tracker,
    peer: tracker.identify(fd),
    async [Symbol.asyncDispose]() {
      tracker.close();
      client.destroy();
      socket.destroy();
      server.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** A process for attestors that go by pid alone. */
export function processOf(pid: number): TrackedProcess {
  const exit = new AbortController();
  return {
    pid,
    uid: 0,
    gid: 0,
    exited: exit.signal,
    image: pid === 0 ? undefined : { startTime: '1', path: '/bin/program', file: '1:1' },
    assertAlive: () => exit.signal.throwIfAborted(),
    assertAliveInTurn: () => exit.signal.throwIfAborted(),
    close: () => exit.abort(new SvidgateError('attestation_failed', 'the process that connected has ended')),
  };
}

export const never: AbortSignal = new AbortController().signal;
