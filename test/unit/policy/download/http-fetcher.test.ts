/** Bundles over HTTP: what counts as an answer, and whom the token and the certificate are shown to. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { SvidgateError, systemClock, Watchable } from '../../../../src/core/index.ts';
import type { BundleAnswer, BundleRequest } from '../../../../src/policy/download/bundle-fetcher.ts';
import { httpFetcher } from '../../../../src/policy/download/http-fetcher.ts';
import type { ClientIdentity, ServerJudge } from '../../../../src/policy/download/source-connection.ts';
import type { SourceAccess } from '../../../../src/policy/download/source-http.ts';
import { startBundleServer, type BundleServer, type BundleServerOptions } from '../../../support/bundle-server.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { makeTlsServerFiles } from '../../../support/tls-server-files.ts';

const folder = await tempFolder();
after(() => folder[Symbol.asyncDispose]());
const tls = await makeTlsServerFiles(folder.path);
const BUNDLE = gzipSync('a bundle');
const MAX_BYTES = 100_000;

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

async function start(options?: BundleServerOptions): Promise<BundleServer> {
  const server = await startBundleServer(options);
  open.push(server);
  server.publish(BUNDLE, '"one"');
  return server;
}

const QUESTION: BundleRequest = { takesDelta: true, waitMs: 0, signal: new AbortController().signal };

interface Ask extends Partial<BundleRequest> {
  readonly access?: Partial<SourceAccess>;
  readonly url?: string;
}

async function ask(server: BundleServer, { access, url, ...more }: Ask = {}): Promise<BundleAnswer> {
  const fetcher = httpFetcher(new URL(url ?? `http://127.0.0.1:${server.port}/bundle.tar.gz`), {
    tls: {},
    alsoAsk: [],
    maxBytes: MAX_BYTES,
    timeoutMs: 5000,
    clock: systemClock,
    ...access,
  });
  return await fetcher.fetch({ ...QUESTION, ...more });
}

async function bytesOf(answer: Promise<BundleAnswer>): Promise<string> {
  const given = await answer;
  assert.equal(given.kind, 'bundle');
  return given.kind === 'bundle' ? Buffer.from(given.bytes).toString('hex') : '';
}

const failsWith = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof SvidgateError);
  assert.equal(error.code, 'policy_source_failed');
  assert.match(error.message, message);
  return true;
};

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const reply =
  (status: number, headers: Record<string, string>, body: string | Uint8Array = ''): Answer =>
  (_request, response) =>
    void response.writeHead(status, headers).end(body);

describe('what is asked', () => {
  test('the first question takes anything; the next names what is there', async () => {
    const server = await start();
    const answer = await ask(server, { takesDelta: false });
    assert.deepEqual(answer, { kind: 'bundle', bytes: BUNDLE, etag: '"one"', canWait: false });
    assert.deepEqual(await ask(server, { etag: '"one"', waitMs: 2500 }), { kind: 'unchanged' });
    const [first, second] = server.questions.map(({ headers }) => headers);
    assert.equal(first?.['if-none-match'], undefined);
    assert.equal(first?.['prefer'], 'modes=snapshot');
    assert.equal(second?.['if-none-match'], '"one"');
    assert.equal(second?.['prefer'], 'modes=snapshot,delta;wait=3');
    assert.equal(second?.authorization, undefined);
  });

  test('a server that can wait says so, and gives news as soon as there are any', async () => {
    const server = await start({ canWait: true });
    const answer = await ask(server);
    assert.ok(answer.kind === 'bundle' && answer.canWait);
    const waiting = ask(server, { etag: '"one"', waitMs: 20_000 });
    while (server.questions.length < 2) await new Promise((resolve) => setImmediate(resolve));
    server.publish(gzipSync('news'), '"two"');
    assert.equal(await bytesOf(waiting), gzipSync('news').toString('hex'));
  });

  test('the token is read anew for each question', async () => {
    const tokenFile = join(folder.path, 'token');
    await writeFile(tokenFile, ' first\n');
    const server = await start({ token: 'second' });
    await assert.rejects(ask(server, { access: { tokenFile } }), failsWith(/status 401/));
    await writeFile(tokenFile, 'second');
    assert.equal(await bytesOf(ask(server, { access: { tokenFile } })), BUNDLE.toString('hex'));
    await writeFile(tokenFile, 'two words');
    await assert.rejects(ask(server, { access: { tokenFile } }), { code: 'file_unreadable' });
    await rm(tokenFile);
    await assert.rejects(ask(server, { access: { tokenFile } }), (error: Error) => !error.message.includes('words'));
    assert.equal(server.questions.length, 2);
  });
});

/** Sends `text` as it is, and then nothing, or an end. */
async function rawServer(text: string | Uint8Array, thenEnds = false): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => (thenEnds ? socket.end(text) : socket.write(text)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  });
  return (server.address() as AddressInfo).port;
}

describe('what is no answer', () => {
  const faults: readonly { readonly name: string; readonly fault: Answer; readonly reason: RegExp }[] = [
    {
      name: 'a page of HTML with status 200',
      fault: reply(200, { 'content-type': 'text/html' }, '<html>Log in</html>'),
      reason: /no bundle \(content-type "text\/html"\)/,
    },
    { name: 'nothing with status 200', fault: reply(200, {}), reason: /no bundle/ },
    { name: 'nothing with status 204', fault: reply(204, {}), reason: /status 204/ },
    { name: 'part of it with status 206', fault: reply(206, {}, BUNDLE), reason: /status 206/ },
    { name: 'status 401', fault: reply(401, {}, BUNDLE), reason: /status 401/ },
    { name: 'status 500', fault: reply(500, {}), reason: /status 500/ },
    { name: 'status 304 when nothing was there', fault: reply(304, {}), reason: /304, and nothing was there/ },
    {
      name: 'more than the limit, announced',
      fault: reply(200, { 'content-length': '104857600' }),
      reason: /more than 100000 bytes/,
    },
    {
      name: 'more than the limit, not announced',
      fault: (_request, response) => {
        response.writeHead(200);
        const piece = Buffer.alloc(65_536, BUNDLE);
        const more = (): void => void (response.destroyed || response.write(piece, () => setImmediate(more)));
        more();
      },
      reason: /more than 100000 bytes/,
    },
    {
      name: 'a body that is cut',
      fault: (_request, response) => {
        response.writeHead(200, { 'content-length': '1000' });
        response.write(BUNDLE, () => response.destroy());
      },
      reason: /cannot be asked|cut short/,
    },
    { name: 'a redirect to nowhere', fault: reply(302, {}), reason: /redirects to nowhere/ },
    {
      name: 'a redirect to another origin',
      fault: reply(302, { location: 'https://elsewhere.test/' }),
      reason: /redirects to https:\/\/elsewhere\.test, which is not allowed/,
    },
    { name: 'a redirect to a file', fault: reply(302, { location: 'file:///etc/passwd' }), reason: /not allowed/ },
    { name: 'a redirect to itself', fault: reply(307, { location: '/bundle.tar.gz' }), reason: /more than 5 times/ },
    {
      name: 'an encoding that was not asked for',
      fault: reply(200, { 'content-encoding': 'br' }, BUNDLE),
      reason: /encoding "br"/,
    },
  ];
  for (const { name, fault, reason } of faults) {
    test(`${name} is told`, async () => {
      const server = await start();
      server.fault = fault;
      await assert.rejects(ask(server, { access: { timeoutMs: 4000 } }), failsWith(reason));
    });
  }

  const silences: readonly { readonly name: string; readonly sent: string }[] = [
    { name: 'silence', sent: '' },
    { name: 'half a header', sent: 'HTTP/1.1 200 OK\r\ncontent-' },
    { name: 'half a body', sent: 'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nab' },
  ];
  for (const { name, sent } of silences) {
    test(`${name} ends with the time that is given`, async () => {
      const server = await start();
      const url = `http://127.0.0.1:${await rawServer(sent)}/`;
      await assert.rejects(
        ask(server, { url, access: { timeoutMs: 150 } }),
        failsWith(/did not answer in full within 150 ms/),
      );
    });
  }

  test('a slow drip ends with it, too', async () => {
    const server = await start();
    server.fault = (_request, response) => {
      response.writeHead(200, { 'content-length': '50000' });
      const drip = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(drip));
    };
    await assert.rejects(ask(server, { access: { timeoutMs: 200 } }), failsWith(/did not answer in full/));
  });

  test('what is no HTTP is told', async () => {
    const server = await start();
    const url = `http://127.0.0.1:${await rawServer('SSH-2.0-OpenSSH\r\n', true)}/`;
    await assert.rejects(ask(server, { url }), failsWith(/cannot be asked/));
  });

  test('an address where nobody listens is told, without the query of its URL', async () => {
    const server = await start();
    await server.down();
    const url = `http://127.0.0.1:${server.port}/b?sig=secret`;
    await assert.rejects(ask(server, { url }), (error: Error) => {
      assert.doesNotMatch(error.message, /secret/);
      return failsWith(/ECONNREFUSED/)(error);
    });
    assert.equal(httpFetcher(new URL(url), {} as SourceAccess).description, `http://127.0.0.1:${server.port}/b`);
  });

  test('who gives up is not told of a fault', async () => {
    const server = await start();
    server.fault = () => undefined;
    const stop = new AbortController();
    const asking = ask(server, { signal: stop.signal });
    setImmediate(() => stop.abort());
    await assert.rejects(asking, { name: 'AbortError' });
  });
});

describe('entity tags', () => {
  test('a 304 about another one than ours has the whole asked for', async () => {
    const server = await start();
    server.fault = (request, response) => {
      if (request.headers['if-none-match'] === undefined) server.fault = undefined;
      if (server.fault === undefined) response.writeHead(200, { etag: '"three"' }).end(BUNDLE);
      else response.writeHead(304, { etag: '"two"' }).end();
    };
    const answer = await ask(server, { etag: '"one"' });
    assert.deepEqual(answer, { kind: 'bundle', bytes: BUNDLE, etag: '"three"', canWait: false });
    assert.equal(server.questions[1]?.headers['prefer'], 'modes=snapshot');
  });

  test('a weak one is the same as a strong one, and one without end is none', async () => {
    const server = await start();
    server.fault = reply(304, { etag: 'W/"one"' });
    assert.deepEqual(await ask(server, { etag: '"one"' }), { kind: 'unchanged' });
    server.fault = reply(200, { etag: `"${'x'.repeat(2000)}"` }, BUNDLE);
    assert.deepEqual(await ask(server), { kind: 'bundle', bytes: BUNDLE, canWait: false });
  });
});

describe('encodings', () => {
  const cases: readonly (readonly [name: string, encoding: string, body: Uint8Array])[] = [
    ['a bundle that is packed once more', 'gzip', gzipSync(BUNDLE)],
    ['a bundle whose own packing is called an encoding', 'gzip', BUNDLE],
    ['a bundle as it is', 'identity', BUNDLE],
  ];
  for (const [name, encoding, body] of cases) {
    test(`${name} is taken as it is in the bundle's file`, async () => {
      const server = await start();
      server.fault = reply(200, { 'content-encoding': encoding }, body);
      assert.equal(await bytesOf(ask(server)), BUNDLE.toString('hex'));
    });
  }

  test('what would unpack to more than the limit is left packed', async () => {
    const server = await start();
    const bomb = gzipSync(gzipSync(Buffer.alloc(50_000_000), { level: 0 }));
    server.fault = reply(200, { 'content-encoding': 'gzip' }, bomb);
    const answer = await ask(server);
    assert.ok(answer.kind === 'bundle' && answer.bytes.length === bomb.length);
  });
});

describe('redirects', () => {
  test('within the origin keep the token, and to an allowed one show none', async () => {
    const tokenFile = join(folder.path, 'redirect-token');
    await writeFile(tokenFile, 'token');
    const server = await start();
    const storage = await start();
    server.fault = (request, response) => {
      const location = request.url === '/here' ? `http://127.0.0.1:${storage.port}/there` : '/here';
      response.writeHead(302, { location }).end();
    };
    const access = { tokenFile, alsoAsk: [`http://127.0.0.1:${storage.port}`] };
    assert.equal(await bytesOf(ask(server, { access })), BUNDLE.toString('hex'));
    const seen = [...server.questions, ...storage.questions].map(({ path, headers }) => [path, headers.authorization]);
    assert.deepEqual(seen, [
      ['/bundle.tar.gz', 'Bearer token'],
      ['/here', 'Bearer token'],
      ['/there', undefined],
    ]);
  });

  test('from elsewhere back show no token', async () => {
    const tokenFile = join(folder.path, 'redirect-token');
    await writeFile(tokenFile, 'token');
    const server = await start();
    const storage = await start();
    storage.fault = (_request, response) =>
      void response.writeHead(302, { location: `http://127.0.0.1:${server.port}/back` }).end();
    server.fault = (request, response) => {
      if (request.url === '/back') response.writeHead(200).end(BUNDLE);
      else response.writeHead(302, { location: `http://127.0.0.1:${storage.port}/there` }).end();
    };
    const access = { tokenFile, alsoAsk: [`http://127.0.0.1:${storage.port}`] };
    assert.equal(await bytesOf(ask(server, { access })), BUNDLE.toString('hex'));
    assert.deepEqual(
      server.questions.map(({ path, headers }) => [path, headers.authorization]),
      [
        ['/bundle.tar.gz', 'Bearer token'],
        ['/back', undefined],
      ],
    );
  });
});

describe('over TLS', () => {
  const https = (server: BundleServer, host = 'localhost'): string => `https://${host}:${server.port}/`;

  test('the server is proven by the CA and its name, or not asked', async () => {
    const server = await start({ tls });
    const { caFile } = tls;
    assert.equal(
      await bytesOf(ask(server, { url: https(server), access: { tls: { caFile } } })),
      BUNDLE.toString('hex'),
    );
    assert.equal(
      await bytesOf(ask(server, { url: https(server, '127.0.0.1'), access: { tls: { caFile } } })),
      BUNDLE.toString('hex'),
    );
    await assert.rejects(ask(server, { url: https(server) }), failsWith(/cannot be asked/));
    assert.equal(server.questions.length, 2);
  });

  test('a judge sees the whole chain before the server sees a byte', async () => {
    const tokenFile = join(folder.path, 'tls-token');
    await writeFile(tokenFile, 'token');
    const ca = await readFile(tls.caFile, 'utf8');
    const server = await start({ tls: { ...tls, cert: `${tls.cert}${ca}` } });
    const chains: number[] = [];
    const judge = new Watchable<ServerJudge | undefined>((chain) => {
      chains.push(chain.length);
      return chains.length === 1 ? 'it is somebody else' : undefined;
    });
    const asked = { url: https(server), access: { tls: { judge }, tokenFile } };
    await assert.rejects(ask(server, asked), failsWith(/is not the server that is expected: it is somebody else/));
    assert.equal(server.questions.length, 0);
    assert.equal(await bytesOf(ask(server, asked)), BUNDLE.toString('hex'));
    assert.deepEqual(chains, [2, 2]);
    judge.set(() => {
      throw new Error('unreadable');
    });
    await assert.rejects(ask(server, asked), failsWith(/cannot be read/));
    assert.equal(server.questions.length, 1);
  });

  test('a question waits until there is something to show, and a redirect elsewhere shows nothing', async () => {
    const server = await start({ tls: { ...tls, requestCert: true, rejectUnauthorized: false } });
    const identity = new Watchable<ClientIdentity | undefined>(undefined);
    const access = { tls: { caFile: tls.caFile, identity }, timeoutMs: 5000 };
    await assert.rejects(
      ask(server, { url: https(server), access: { ...access, timeoutMs: 100 } }),
      failsWith(/there is no svid to show yet/),
    );
    const waiting = ask(server, { url: https(server), access });
    identity.set({ privateKey: tls.key, certificateChain: tls.cert });
    assert.equal(await bytesOf(waiting), BUNDLE.toString('hex'));
    assert.match(server.questions[0]?.client ?? '', /DNS:localhost/);
    const other = await start({ tls: { ...tls, requestCert: true, rejectUnauthorized: false } });
    server.fault = (_request, response) => void response.writeHead(302, { location: https(other) }).end();
    // Its CA is not the system's, so that it is not even asked.
    const alsoAsk = [`https://localhost:${other.port}`];
    await assert.rejects(
      ask(server, { url: https(server), access: { ...access, alsoAsk } }),
      failsWith(/cannot be asked/),
    );
    assert.equal(other.questions.length, 0);
  });
});
