/** Connections at the gate's door for HTTP that come to nothing, and its end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { openRaw, sendRaw } from '../support/http-asker.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let address = '';
before(async () => {
  server = await startTestServer({
    entries: entriesFor('/edge'),
    config: `authz:
  listen: unix:./gate.sock
  policies: { default: { path: ./authz.rego } }
  http: { listen: unix:./http.sock, request: envoy }
`,
    files: { 'authz.rego': 'package envoy.authz\n\nallow := true\n' },
  });
  address = server.running.addresses.http ?? '';
});
after(() => server[Symbol.asyncDispose]());

const GET = 'GET / HTTP/1.1\r\nhost: a\r\n';
const decided = (): number => server.lines.filter(({ decision }) => decision !== undefined).length;

test('one that breaks, or was opened for later, is no decision', { timeout: 30_000 }, async () => {
  const before = decided();
  for (const bytes of ['GET / HTT', GET, `${GET}content-length: 9\r\n\r\nabc`]) {
    const broken = openRaw(address);
    await once(broken, 'connect');
    broken.write(bytes);
    broken.destroy();
  }
  const idle = openRaw(address);
  const pieces: Buffer[] = [];
  idle.on('data', (piece: Buffer) => void pieces.push(piece));
  await once(idle, 'close');
  assert.equal(pieces.length, 0);
  // A request whose body broke off is the one that was asked.
  assert.ok(decided() - before <= 1);
});

test('many that hold their requests back keep nobody out', { timeout: 30_000 }, async () => {
  const held = Array.from({ length: 500 }, () => openRaw(address));
  for (const socket of held) socket.write(GET);
  assert.match(await sendRaw(address, `${GET}connection: close\r\n\r\n`), /^HTTP\/1\.1 200 /);
  for (const socket of held) socket.destroy();
});

test('the end: an idle connection is closed, and a new one is not taken', async () => {
  const idle = openRaw(address);
  idle.write(`${GET}\r\n`);
  const [answer] = (await once(idle, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  const closed = once(idle, 'close');
  await server.running.stop('the test says so');
  await closed;
  await assert.rejects(once(openRaw(address), 'connect'), /ENOENT|ECONNREFUSED/);
});
