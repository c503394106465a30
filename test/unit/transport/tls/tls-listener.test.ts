import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import type { StatusObject } from '@grpc/grpc-js';
import { pemEncode } from '../../../../src/pki/index.ts';
import { parseTrustDomain } from '../../../../src/spiffe/index.ts';
import { startWireServer } from '../../../../src/transport/index.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { createTestTrustDomain } from '../../../support/test-trust-domain.ts';
import { foreignPeer } from '../../../support/foreign-peer.ts';
import {
  ask,
  CONNECTION,
  grpcClient,
  handshake,
  openTlsScene,
  selfSigned,
  WATCH,
  type ClientIdentity,
  type TlsScene,
} from '../../../support/tls-scene.ts';
import { waitUntil } from '../../../support/wait-until.ts';
import { noMetrics, silentLogger, Watchable } from '../../../../src/core/index.ts';

const LIMIT_MS = 5000;
const ALICE = 'spiffe://example.test/alice';

async function askOnce(scene: TlsScene, identity?: Pick<ClientIdentity, 'cert' | 'key'>): Promise<string> {
  const client = grpcClient(scene, identity);
  try {
    return await ask(client);
  } finally {
    client.close();
  }
}

/** The end of a connection whose client did not see that it was refused: in TLS 1.3 it may send before it knows. */
async function assertClosed(socket: TLSSocket): Promise<void> {
  const bytes: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => bytes.push(chunk));
  if (!socket.closed) await once(socket, 'close');
  assert.equal(Buffer.concat(bytes).length, 0, 'something was served');
}

describe('a listener with TLS', () => {
  test('knows its callers by their SVIDs, of our trust domain and of those whose bundle we hold', async () => {
    await using scene = await openTlsScene();
    assert.equal(await askOnce(scene, await scene.client('/alice')), ALICE);
    const partner = await createTestTrustDomain('partner.test');
    assert.equal(await askOnce(scene, await foreignPeer(partner)), 'UNAVAILABLE');
    scene.foreign.set(new Map([[parseTrustDomain('partner.test'), partner.bundle.value]]));
    assert.equal(await askOnce(scene, await foreignPeer(partner)), 'spiffe://partner.test/peer');
    const [peer] = scene.onPeer;
    assert.ok(peer?.kind === 'tls');
    assert.match(peer.address, /^127\.0\.0\.1:\d+$/);
    assert.match(peer.serial, /^[0-9a-f]+$/);
    assert.deepEqual(scene.results, ['accepted', 'refused', 'accepted']);
  });

  test('serves nothing to anybody else, and says why in the log', async () => {
    await using scene = await openTlsScene();
    const stranger = await createTestTrustDomain('example.test');
    const genuine = await scene.client('/alice');
    const cases: readonly (readonly [reason: string, identity?: Pick<ClientIdentity, 'cert' | 'key'>])[] = [
      ['no_certificate'],
      ['intermediate_unknown', await selfSigned(ALICE)],
      ['intermediate_unknown', await foreignPeer(stranger)],
      ['expired', await scene.client('/alice', -1000)],
      ['unknown_trust_domain', await foreignPeer(await createTestTrustDomain('other.test'))],
      ['no_spiffe_id', await selfSigned('https://example.test/alice')],
      ['several_uris', await selfSigned(ALICE, 'spiffe://example.test/bob')],
    ];
    for (const [reason, identity] of cases) {
      await assertClosed(await handshake(scene, { ...identity }));
      await waitUntil(reason, LIMIT_MS, () => scene.lines.some((line) => line.reason === reason));
      assert.equal(await askOnce(scene, identity), 'UNAVAILABLE');
    }
    assert.deepEqual(scene.onPeer, []);
    assert.equal(scene.results.includes('accepted'), false);
    assert.equal(await askOnce(scene, genuine), ALICE);
    const log = JSON.stringify(scene.lines);
    assert.doesNotMatch(log, /PRIVATE|BEGIN|MII/);
  });

  test('changes its own SVID for new connections, and the old ones stay', async () => {
    await using scene = await openTlsScene();
    const alice = await scene.client('/alice');
    const client = grpcClient(scene, alice);
    const connection = await ask(client, CONNECTION);
    const before = await serialSeen(scene, alice);
    const next = await scene.rotate();
    assert.notEqual(before, next.serial);
    assert.equal(await serialSeen(scene, alice), next.serial);
    assert.equal(await ask(client, CONNECTION), connection);
    scene.identity.set({ privateKey: 'none', certificateChain: next.cert });
    assert.equal(await serialSeen(scene, alice), next.serial);
    assert.equal(scene.lines.at(-1)?.message, 'the identity of the listener cannot be used');
    scene.identity.set(undefined);
    assert.equal(await askOnce(scene, alice), 'UNAVAILABLE');
    assert.equal(scene.results.at(-1), 'no_identity');
    assert.equal(await ask(client, CONNECTION), connection);
    client.close();
  });

  for (const what of ['serial', 'spiffeId'] as const) {
    test(`a connection is refused at its next call when its ${what} was revoked`, async () => {
      await using scene = await openTlsScene();
      const [alice, bob] = [await scene.client('/alice'), await scene.client('/bob')];
      const clients = [grpcClient(scene, alice), grpcClient(scene, bob)] as const;
      assert.deepEqual(await Promise.all(clients.map((client) => ask(client))), [ALICE, 'spiffe://example.test/bob']);
      const stream = clients[0].makeServerStreamRequest(
        WATCH,
        () => Buffer.alloc(0),
        (bytes) => bytes,
        new Uint8Array(),
      );
      const ended = new Promise<StatusObject>((resolve) => stream.on('status', resolve).on('error', () => undefined));
      await once(stream, 'data');
      scene.revoke(what === 'serial' ? { serial: alice.serial } : { spiffeId: ALICE });
      assert.equal(await ask(clients[0]), 'fault: certificate_invalid');
      assert.equal((await ended).details, 'the certificate of this connection is not accepted any more');
      assert.equal(await ask(clients[0]), 'UNAVAILABLE', 'its connection was closed, and it gets no other');
      assert.equal(await ask(clients[1]), 'spiffe://example.test/bob');
      for (const client of clients) client.close();
    });
  }

  test('a connection is refused at its next call when its certificate has ended, or its root has left the bundle', async () => {
    await using scene = await openTlsScene();
    const client = grpcClient(scene, await scene.client('/alice', 60_000));
    assert.equal(await ask(client), ALICE);
    scene.ahead = 61_000;
    assert.equal(await ask(client), 'fault: certificate_invalid');
    client.close();
    scene.ahead = 0;
    const other = grpcClient(scene, await scene.client('/alice'));
    assert.equal(await ask(other), ALICE);
    scene.domain.bundle.set((await createTestTrustDomain('example.test')).bundle.value);
    assert.equal(await ask(other), 'fault: certificate_invalid');
    other.close();
  });

  test('asks its callers to come back before their certificates end, and no call fails for that', async () => {
    await using scene = await openTlsScene();
    const client = grpcClient(scene, await scene.client('/alice', 4000));
    const end = Date.now() + 3900;
    const first = await ask(client, CONNECTION);
    const connections = new Set<string>();
    while (Date.now() < end && !connections.has('2')) {
      for (const connection of await Promise.all([1, 2, 3].map(() => ask(client, CONNECTION)))) {
        connections.add(connection === first ? '1' : '2');
        assert.match(connection, /^\d+$/);
      }
    }
    assert.deepEqual([...connections], ['1', '2']);
    client.close();
  });

  test('speaks TLS 1.2 or newer with HTTP/2, and nothing else', async () => {
    await using scene = await openTlsScene();
    const { cert, key } = await scene.client('/alice');
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await handshake(scene, { cert, key, maxVersion });
      assert.equal(socket.getProtocol(), maxVersion);
      assert.equal(socket.alpnProtocol, 'h2');
      socket.destroy();
    }
    const accepted = scene.onPeer.length;
    await assertClosed(
      await handshake(scene, { cert, key, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }),
    );
    await assertClosed(await handshake(scene, { cert, key, ALPNProtocols: ['http/1.1'] }));
    await assertClosed(await handshake(scene, { cert, key, ALPNProtocols: [] }));
    const plain = http2.connect(`http://127.0.0.1:${scene.port}`);
    plain.on('error', () => undefined);
    await once(plain, 'close');
    const text = connect(scene.port, '127.0.0.1');
    text.on('error', () => undefined).resume();
    text.write('GET / HTTP/1.1\r\n\r\n');
    await once(text, 'close');
    assert.equal(scene.onPeer.length, accepted);
  });

  for (const version of ['-tls1_2', '-tls1_3']) {
    test(`does not resume sessions (${version}): each connection presents its certificate`, async () => {
      await using scene = await openTlsScene();
      await using folder = await tempFolder();
      const { cert, key } = await scene.client('/alice');
      const file = join(folder.path, 'client.pem');
      await writeFile(file, `${cert}${key}`);
      const session = join(folder.path, 'session.pem');
      const common = [
        's_client',
        '-connect',
        `127.0.0.1:${scene.port}`,
        '-cert',
        file,
        '-key',
        file,
        '-alpn',
        'h2',
        version,
      ];
      const first = await openssl([...common, '-sess_out', session]);
      assert.match(first, /New, TLSv1/);
      const second = await openssl([...common, '-sess_in', session]).catch((error: unknown) => String(error));
      assert.doesNotMatch(second, /Reused, TLSv1/);
    });
  }

  test('has its judge look at all that was presented, the leaf first', async () => {
    const seen: (readonly Uint8Array[])[] = [];
    const judge = (chain: readonly Uint8Array[]): never => {
      seen.push(chain);
      throw new Error('nobody is let in when the judge fails');
    };
    await using scene = await openTlsScene({ clients: { judge, epoch: () => 0 } });
    const { cert, key } = await scene.client('/alice');
    const other = (await scene.client('/other')).cert;
    const chain = [cert, scene.roots, other];
    await assertClosed(await handshake(scene, { cert: chain.join(''), key }));
    await waitUntil('the judge', LIMIT_MS, () => seen.length === 1);
    assert.deepEqual(
      seen[0]?.map((der) => pemEncode('CERTIFICATE', der)),
      chain,
    );
    assert.deepEqual(scene.onPeer, []);
  });

  test('bounds handshakes in time and number, and a slow one keeps nobody out', async () => {
    await using scene = await openTlsScene({ handshakeTimeoutMs: 1000, maxHandshakes: 3 });
    const silent = Array.from({ length: 8 }, () => connect(scene.port, '127.0.0.1').on('error', () => undefined));
    await waitUntil(
      'five pushed out',
      LIMIT_MS,
      () => scene.results.filter((result) => result === 'pushed_out').length === 5,
    );
    assert.equal(await askOnce(scene, await scene.client('/alice')), ALICE);
    await waitUntil(
      'the rest to time out',
      LIMIT_MS,
      () => scene.results.filter((result) => result === 'timed_out').length >= 2,
    );
    await waitUntil('all to be closed', LIMIT_MS, () => silent.every((socket) => socket.destroyed));
    const told = scene.lines.filter(({ reason }) => reason === 'too_many_handshakes');
    assert.equal(told.length, 1, 'the log is not theirs to fill');
  });

  test('is not for Unix sockets', async () => {
    await using folder = await tempFolder();
    const starting = startWireServer({
      name: 'test',
      address: { kind: 'unix', path: join(folder.path, 's'), mode: 0o600 },
      methods: [],
      identify: () => assert.fail('nobody connects'),
      maxMessageBytes: 1,
      tls: { identity: new Watchable(undefined), clients: { judge: () => assert.fail(), epoch: () => 0 } },
      logger: silentLogger,
      metrics: noMetrics,
    });
    await assert.rejects(starting, { code: 'config_invalid' });
  });
});

async function serialSeen(scene: TlsScene, { cert, key }: ClientIdentity): Promise<string> {
  const socket = await handshake(scene, { cert, key });
  await waitUntil('the server to have seen it', LIMIT_MS, () => socket.getPeerCertificate().serialNumber !== undefined);
  const serial = socket.getPeerCertificate().serialNumber.toLowerCase().replace(/^0+/, '');
  socket.destroy();
  return serial;
}

/** What it prints; it ends a moment after the handshake. */
async function openssl(args: readonly string[]): Promise<string> {
  const child = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let printed = '';
  let isDone = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
    if (isDone || !printed.includes('Verify return code')) return;
    isDone = true;
    setTimeout(() => child.stdin.end('Q\n'), 200); // a ticket would come after it
  });
  child.stderr.resume();
  await once(child, 'close');
  return printed;
}
