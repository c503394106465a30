import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { noMetrics, silentLogger, systemClock, type Clock } from '../../../src/core/index.ts';
import { JwksSource, type JwksPlace } from '../../../src/peer/jwks-source.ts';
import { parseJwks } from '../../../src/peer/jwks.ts';
import { startHttpStandIn, type Answer } from '../../support/http-stand-in.ts';
import { jwksOf, makeJwtIssuer } from '../../support/jwt-issuer.ts';
import { makeTlsServerFiles } from '../../support/tls-server-files.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { createTestClock } from '../../support/test-clock.ts';
import { waitUntil } from '../../support/wait-until.ts';

const folder = await tempFolder();
after(() => folder[Symbol.asyncDispose]());
const tls = await makeTlsServerFiles(folder.path);
const one = await makeJwtIssuer('one');
const two = await makeJwtIssuer('two', 'rsa');

const open = new Set<() => Promise<void>>();
afterEach(async () => {
  for (const close of open) await close();
  open.clear();
});

const text =
  (body: string, status = 200): Answer =>
  (_request, response) =>
    void response.writeHead(status).end(body);

interface Stage {
  readonly source: JwksSource;
  readonly server: Awaited<ReturnType<typeof startHttpStandIn>>;
  readonly warnings: string[];
  readonly ids: () => readonly string[] | undefined;
}

async function stage(
  answer: Answer,
  more: {
    readonly clock?: Clock;
    readonly place?: Partial<JwksPlace>;
    readonly cooldownMs?: number;
    readonly url?: string;
  } = {},
): Promise<Stage> {
  const server = await startHttpStandIn({ tls, answer });
  const warnings: string[] = [];
  const source = new JwksSource({
    provider: 'test',
    place: {
      kind: 'https',
      url: more.url ?? `https://localhost:${server.port}/keys`,
      caFile: tls.caFile,
      refreshMs: 600_000,
      keepMs: 3_600_000,
      ...more.place,
    } as JwksPlace,
    clock: more.clock ?? systemClock,
    logger: { ...silentLogger, warn: ({ reason }) => void warnings.push(reason ?? '') },
    metrics: noMetrics,
    timeoutMs: 500,
    cooldownMs: more.cooldownMs ?? 0,
  });
  const stop = new AbortController();
  const running = source.run(stop.signal);
  open.add(async () => {
    stop.abort();
    await running;
    await server[Symbol.asyncDispose]();
  });
  return { source, server, warnings, ids: () => source.keys?.keys.map(({ keyId }) => keyId) };
}

test('keys come over HTTPS, and stay the same object while nothing in them changes', async () => {
  const { source, server, ids } = await stage(text(jwksOf(one)));
  await waitUntil('the keys', 5000, () => ids()?.[0] === 'one');
  const before = source.keys;
  await source.renew(5000);
  assert.equal(source.keys, before);
  server.answer = text(jwksOf(one, two));
  await source.renew(5000);
  assert.deepEqual(ids(), ['one', 'two']);
  assert.equal(server.requests.length, 3);
  assert.equal(server.requests[0]?.path, '/keys');
});

const BAD: readonly { readonly name: string; readonly answer: Answer; readonly reason: RegExp }[] = [
  {
    name: 'a redirect, also to itself',
    answer: (_request, response) => void response.writeHead(302, { location: '/other' }).end(jwksOf(two)),
    reason: /status 302/,
  },
  { name: 'a page that says that nothing was found', answer: text('<html>404</html>', 404), reason: /status 404/ },
  { name: 'HTML', answer: text('<html><body>Log in</body></html>'), reason: /not JSON/ },
  { name: 'no answer', answer: () => undefined, reason: /did not answer within 500 ms/ },
  {
    name: 'a beginning, and no more',
    answer: (_request, response) => void response.writeHead(200).write('{"keys":['),
    reason: /did not answer within 500 ms/,
  },
  {
    name: 'an answer that is cut short',
    answer: (_request, response) => {
      response.writeHead(200, { 'content-length': '1000' }).write('{"keys":[]}', () => response.destroy());
    },
    reason: /cannot be reached/,
  },
  { name: '100 MB', answer: hundredMegabytes, reason: /more than 524288 bytes/ },
  { name: 'a key of an object twice', answer: text('{"keys":[],"keys":[]}'), reason: /twice/ },
  { name: 'a list', answer: text('[]'), reason: /no list `keys`/ },
  {
    name: 'too many keys',
    answer: text(JSON.stringify({ keys: Array.from({ length: 101 }, () => one.jwk) })),
    reason: /100 keys/,
  },
  {
    name: 'text that is not UTF-8',
    answer: (_request, response) => void response.writeHead(200).end(Buffer.from([0x7b, 0xff, 0x7d])),
    reason: /cannot be reached/,
  },
];

let sentBytes = 0;
function hundredMegabytes(...[, response]: Parameters<Answer>): void {
  const piece = Buffer.alloc(1024 * 1024, 0x20);
  const write = (): void => {
    while (sentBytes < 100 * piece.length && !response.destroyed) {
      sentBytes += piece.length;
      if (!response.write(piece)) return void response.once('drain', write);
    }
    response.end();
  };
  write();
}

for (const { name, answer, reason } of BAD) {
  test(`the last good keys stay when the server answers with: ${name}`, async () => {
    const { source, server, warnings, ids } = await stage(text(jwksOf(one)));
    await waitUntil('the keys', 5000, () => ids()?.[0] === 'one');
    server.answer = answer;
    await source.renew(5000);
    assert.deepEqual(ids(), ['one']);
    assert.match(warnings.at(-1) ?? '', reason);
    await source.renew(5000);
    assert.equal(warnings.length, 1, 'the same is said once');
    server.answer = text(jwksOf(two));
    await source.renew(5000);
    assert.deepEqual(ids(), ['two'], 'it goes on');
  });
}

test('of an answer that is too long only its beginning is read', async () => {
  sentBytes = 0;
  const { warnings } = await stage(hundredMegabytes);
  await waitUntil('a warning', 5000, () => warnings.length > 0);
  assert.match(warnings[0] ?? '', /more than 524288 bytes/);
  assert.ok(sentBytes < 50 * 1024 * 1024, String(sentBytes));
});

test('who waits for keys waits no longer than it may, while the question goes on', async () => {
  let waiting: ServerResponse | undefined;
  const { source, ids } = await stage((_request, response) => void (waiting = response));
  const response = await waitUntil('the question', 5000, () => waiting);
  const startedAt = performance.now();
  await source.renew(50);
  assert.ok(performance.now() - startedAt < 400);
  assert.equal(ids(), undefined);
  response.end(jwksOf(one));
  await waitUntil('the keys', 5000, () => ids()?.[0] === 'one');
});

test('many tokens of unknown keys cause one question at a time, and none while the last is recent', async () => {
  const { source, server, ids } = await stage(text(jwksOf(one)), { cooldownMs: 60_000 });
  await waitUntil('the keys', 5000, () => ids()?.[0] === 'one');
  await Promise.all(Array.from({ length: 100 }, () => source.renew(1000)));
  assert.equal(server.requests.length, 1);
});

test('a server whose certificate is of another CA gives no keys', async () => {
  const other = await tempFolder();
  open.add(async () => await other[Symbol.asyncDispose]());
  const { caFile } = await makeTlsServerFiles(other.path);
  const { server, warnings, source } = await stage(text(jwksOf(one)), { place: { caFile } });
  await waitUntil('a warning', 5000, () => warnings.length > 0);
  assert.match(warnings[0] ?? '', /cannot be reached/);
  assert.equal(source.keys, undefined);
  assert.equal(server.requests.length, 0);
});

test('plain text in the place of TLS gives no keys', async () => {
  const answer = `HTTP/1.1 200 OK\r\n\r\n${jwksOf(one)}`;
  const plain = createServer(
    (socket) =>
      void socket
        .on('error', () => undefined)
        .resume()
        .end(answer),
  );
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const { port } = plain.address() as AddressInfo;
  const { warnings, source } = await stage(text(''), { url: `https://localhost:${port}/` });
  open.add(async () => {
    plain.close();
    await once(plain, 'close');
  });
  await waitUntil('a warning', 5000, () => warnings.length > 0);
  assert.equal(source.keys, undefined);
});

test('the token in a file goes to the server with each question', async () => {
  const tokenFile = join(folder.path, 'token');
  await writeFile(tokenFile, 'first\n');
  const { source, server, ids } = await stage(text(jwksOf(one)), { place: { tokenFile } });
  await waitUntil('the keys', 5000, () => ids()?.[0] === 'one');
  await writeFile(tokenFile, 'second\n');
  await source.renew(5000);
  assert.deepEqual(
    server.requests.map(({ authorization }) => authorization),
    ['Bearer first', 'Bearer second'],
  );
});

test('keys are asked for again by their age, and end when they are too old', async () => {
  const clock = createTestClock();
  const { source, server, ids } = await stage(text(jwksOf(one)), { clock });
  await waitUntil('the keys', 5000, () => ids()?.[0] === 'one' && clock.sleeping === 1);
  server.answer = text(jwksOf(two));
  await clock.advance(600_000);
  await waitUntil('the new keys', 5000, () => ids()?.[0] === 'two' && clock.sleeping === 1);
  server.answer = text('no', 500);
  for (let minute = 0; minute < 60; minute += 1) {
    await clock.advance(60_000);
    await waitUntil('its answer', 5000, () => clock.sleeping === 1);
  }
  assert.deepEqual(ids(), ['two'], 'an hour old');
  await clock.advance(1);
  assert.equal(source.keys, undefined);
  server.answer = text(jwksOf(one));
  await clock.advance(60_000);
  await waitUntil('the keys', 5000, () => ids()?.[0] === 'one');
});

test('keys in a file are there soon after it changes; a mistake in it leaves the last good ones', async () => {
  const file = join(folder.path, 'keys', 'jwks.json');
  await mkdir(join(folder.path, 'keys'));
  await writeFile(file, jwksOf(one));
  const { ids, warnings } = await stage(text(''), { place: { kind: 'file', file } });
  await waitUntil('the keys', 5000, () => ids()?.[0] === 'one');
  await writeFile(file, '{');
  await waitUntil('a warning', 5000, () => warnings.length > 0);
  assert.deepEqual(ids(), ['one']);
  await writeFile(file, jwksOf(two));
  await waitUntil('the new keys', 5000, () => ids()?.[0] === 'two');
});

test('only keys that can verify signatures are taken from a set', () => {
  const secret = { kty: 'oct', k: 'c2VjcmV0', kid: 'secret', alg: 'HS256' };
  const taken = (key: unknown): number => parseJwks(JSON.stringify({ keys: [key] })).keys.length;
  for (const key of [one.jwk, two.jwk, { ...one.jwk, use: undefined }, { ...one.jwk, kid: undefined }]) {
    assert.equal(taken(key), 1);
  }
  const passedOver = [secret, { ...one.jwk, use: 'enc' }, { ...one.jwk, key_ops: ['sign'] }, { ...one.jwk, kid: 7 }];
  for (const key of [...passedOver, { ...one.jwk, x: 'x' }, { ...one.jwk, crv: 'P-999' }, null, 'x', [], {}]) {
    assert.equal(taken(key), 0, JSON.stringify(key));
  }
});
