import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { createExecutableDigests } from '../../../src/attestation/executable-digest.ts';
import { createPeerTracker, createUnixAttestor, openKernel, type PeerTracker } from '../../../src/attestation/index.ts';
import { noMetrics, silentLogger, SvidgateError } from '../../../src/core/index.ts';
import type { PeerProcess } from '../../../src/transport/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

interface OwnPeer extends AsyncDisposable {
  readonly tracker: PeerTracker;
  /** This very process, as the other end of a real connection. */
  readonly peer: PeerProcess;
}

async function ownPeer(): Promise<OwnPeer> {
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

const settings = {
  discoverWorkloadPath: true,
  allowWithoutPid: false,
  executableDigest: { kind: 'off' },
  logger: silentLogger,
  metrics: noMetrics,
} as const;

test('an attestation that failed is tried again on the same connection; one that passed is kept', async () => {
  await using own = await ownPeer();
  let asked = 0;
  const tracker: PeerTracker = {
    ...own.tracker,
    trackedProcess(peer) {
      asked += 1;
      if (asked === 1) throw new SvidgateError('attestation_failed', 'no file descriptor was left');
      return own.tracker.trackedProcess(peer);
    },
  };
  const attestor = createUnixAttestor({ ...settings, tracker });
  await assert.rejects(attestor.attest(own.peer), { code: 'attestation_failed' });
  const attestation = await attestor.attest(own.peer);
  assert.ok([...attestation.selectors].some((selector) => selector === `unix:path:${process.execPath}`));
  assert.equal(await attestor.attest(own.peer), attestation);
  assert.equal(asked, 2);
});

test('a caller whose connection has ended is alive no more, and what waits for its end is told', async () => {
  await using own = await ownPeer();
  const attestation = await createUnixAttestor({ ...settings, tracker: own.tracker }).attest(own.peer);
  attestation.assertAlive();
  own.peer.close();
  assert.throws(() => attestation.assertAlive(), { code: 'attestation_failed' });
  assert.ok(own.peer.exited.aborted);
});

test('a hash that nobody waits for any more ends, and the next of that user is right', async () => {
  const digests = createExecutableDigests(Number.MAX_SAFE_INTEGER);
  const gone = new AbortController();
  const request = { pid: process.pid, uid: 0, signal: gone.signal };
  const abandoned = digests.digest(request);
  gone.abort(new Error('gone'));
  await assert.rejects(abandoned, { message: 'gone' });
  const { sha256 } = await digests.digest({ ...request, signal: new AbortController().signal });
  assert.equal(
    sha256,
    createHash('sha256')
      .update(await readFile(process.execPath))
      .digest('hex'),
  );
});

test('an executable over the limit has no hash', async () => {
  const request = { pid: process.pid, uid: 0, signal: new AbortController().signal };
  assert.equal((await createExecutableDigests(1000).digest(request)).sha256, undefined);
});
