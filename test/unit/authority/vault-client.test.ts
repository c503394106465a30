import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createVaultClient, type VaultClient, type VaultRequest } from '../../../src/authority/vault-client.ts';
import { describeError, silentLogger, SvidgateError, systemClock } from '../../../src/core/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const TOKEN = 's.aaaaaaaaaaaaaaaaaaaaaaaa';
const SECRET_ID = '11111111-2222-3333-4444-555555555555';

/** What a server in place of Vault is asked, and how it answers. */
type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

interface StandIn extends AsyncDisposable {
  readonly client: VaultClient;
  /** `METHOD PATH` of each request but logins. */
  readonly asked: string[];
  /** Tokens given at logins so far. */
  logins: number;
  send(request?: Partial<VaultRequest>): ReturnType<VaultClient['send']>;
}

/** A server that lets everybody log in, speaks as Vault where `answer` wants it, and misbehaves where that wants it. */
async function standIn(answer: Answer): Promise<StandIn> {
  const folder = await tempFolder();
  const secretIdFile = join(folder.path, 'secret-id');
  await writeFile(secretIdFile, `${SECRET_ID}\n`, { mode: 0o600 });
  const asked: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => (body += piece));
    request.on('end', () => {
      if (request.url === '/v1/auth/approle/login') {
        assert.deepEqual(JSON.parse(body), { role_id: 'svidgate', secret_id: SECRET_ID });
        opened.logins += 1;
        return json(response, 200, { auth: { client_token: `${TOKEN}${opened.logins}`, lease_duration: 3600 } });
      }
      if (request.url === '/v1/auth/token/revoke-self') return json(response, 204);
      asked.push(`${request.method} ${request.url}`);
      answer(request, response, body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = createVaultClient({
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    namespace: 'team',
    auth: { kind: 'approle', mount: 'approle', roleId: 'svidgate', secretIdFile },
    logger: silentLogger,
    clock: systemClock,
  });
  const opened: StandIn = {
    client,
    asked,
    logins: 0,
    send: async (request = {}) =>
      await client.send({ method: 'GET', path: 'secret', failsAs: 'upstream_failed', ...request }),
    async [Symbol.asyncDispose]() {
      await client.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await folder[Symbol.asyncDispose]();
    },
  };
  return opened;
}

function json(response: ServerResponse, status: number, body?: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

async function failureOf(work: Promise<unknown>): Promise<SvidgateError> {
  const error: unknown = await work.then(
    () => assert.fail('it was expected to fail'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SvidgateError, String(error));
  assert.doesNotMatch(`${describeError(error)}${error.stack}`, /aaaaaaaaaa|11111111/, 'no secret in the error');
  return error;
}

describe('the Vault client', () => {
  it('sends token, namespace and the mark of a client, and gives the data', async () => {
    const headers: Record<string, unknown>[] = [];
    await using bench = await standIn((request, response, body) => {
      headers.push({ ...request.headers, body });
      json(response, 200, { data: { a: 1 } });
    });
    assert.deepEqual(await bench.send({ method: 'POST', body: { key: 'value' } }), { a: 1 });
    assert.deepEqual(await bench.send({ method: 'LIST' }), { a: 1 });
    assert.deepEqual(bench.asked, ['POST /v1/secret', 'GET /v1/secret?list=true']);
    assert.equal(headers[0]!['x-vault-token'], `${TOKEN}1`);
    assert.equal(headers[0]!['x-vault-namespace'], 'team');
    assert.equal(headers[0]!['x-vault-request'], 'true');
    assert.equal(headers[0]!['body'], '{"key":"value"}');
    assert.equal(bench.logins, 1);
  });

  interface Case {
    readonly what: string;
    readonly answer: Answer;
    /** The message after `Vault at ADDRESS `, or the value. */
    readonly says?: RegExp;
    readonly gives?: unknown;
    readonly asked?: number;
  }
  const CASES: readonly Case[] = [
    { what: 'no content', answer: (_, response) => json(response, 204), gives: {} },
    { what: 'an answer without data', answer: (_, response) => json(response, 200, {}), gives: {} },
    { what: 'nothing there', answer: (_, response) => json(response, 404, { errors: [] }), gives: undefined },
    {
      what: 'a path that is not there',
      answer: (_, response) => json(response, 404, { errors: ['no handler'] }),
      says: /^refuses GET secret with 404$/,
      asked: 1,
    },
    {
      what: 'a 404 of something else',
      answer: (_, response) => void response.writeHead(404).end('<html>'),
      says: /^refuses GET secret with 404$/,
      asked: 1,
    },
    {
      what: 'a page in place of JSON',
      answer: (_, response) => void response.writeHead(200).end('<html>Log in</html>'),
      says: /^answers GET secret with what Vault never says$/,
      asked: 1,
    },
    {
      what: 'a list in place of an object',
      answer: (_, response) => json(response, 200, []),
      says: /^answers GET secret with what Vault never says$/,
    },
    {
      what: 'a redirect, which would take the token elsewhere',
      answer: (_, response) => void response.writeHead(307, { location: 'http://127.0.0.1:1/v1/secret' }).end(),
      says: /^sends us to another node: give the address of the active one/,
      asked: 1,
    },
    {
      what: 'a refusal that quotes the token',
      answer: (request, response) =>
        json(response, 400, { errors: [`bad ${String(request.headers['x-vault-token'])}`] }),
      says: /^refuses GET secret with 400$/,
      asked: 1,
    },
    {
      what: 'an answer of more than 4 MiB',
      answer: (_, response) => json(response, 200, { data: 'x'.repeat(5 * 1024 * 1024) }),
      says: /^answers with more than 4194304 bytes$/,
      asked: 1,
    },
    {
      what: 'a server that is sealed',
      answer: (request, response) =>
        json(response, 503, request.url === '/v1/sys/health' ? { sealed: true } : { errors: ['Vault is sealed'] }),
      says: /^is sealed$/,
      asked: 5,
    },
    {
      what: 'a standby that knows no active node',
      answer: (request, response) =>
        json(response, request.url === '/v1/sys/health' ? 429 : 500, { errors: ['local'] }),
      says: /^is a standby that cannot pass requests on to the active node$/,
      asked: 5,
    },
    {
      what: 'a server that was never initialised',
      answer: (request, response) => json(response, request.url === '/v1/sys/health' ? 501 : 500, {}),
      says: /^is not initialised$/,
    },
    {
      what: 'a fault that lasts',
      answer: (request, response) => json(response, request.url === '/v1/sys/health' ? 200 : 502, { errors: ['oops'] }),
      says: /^fails with 502$/,
      asked: 5,
    },
    {
      what: 'connections that are cut',
      answer: (request) => request.socket.destroy(),
      says: /^cannot be reached \(ECONNRESET\)$/,
      asked: 4,
    },
    {
      what: 'an answer that is cut',
      answer(request, response) {
        response.writeHead(200, { 'content-length': 100 }).write('{"data"');
        setImmediate(() => request.socket.destroy());
      },
      says: /^cannot be reached \(ECONNRESET\)$/,
      asked: 4,
    },
  ];
  for (const { what, answer, says, gives, asked } of CASES) {
    it(`meets ${what}`, async () => {
      await using bench = await standIn(answer);
      if (says === undefined) {
        assert.deepEqual(await bench.send(), gives);
      } else {
        const error = await failureOf(bench.send());
        assert.equal(error.code, 'upstream_failed');
        assert.match(error.message.replace(/^Vault at http:\/\/127\.0\.0\.1:\d+ /, ''), says);
      }
      if (asked !== undefined) assert.equal(bench.asked.length, asked);
    });
  }

  it('tries again what may pass', async () => {
    let count = 0;
    await using bench = await standIn((request, response) => {
      count += 1;
      if (count === 1) return void request.socket.destroy();
      json(response, count === 2 ? 503 : 200, { data: { count } });
    });
    assert.deepEqual(await bench.send(), { count: 3 });
  });

  it('gives up when its time is over, whatever the server does', async () => {
    await using bench = await standIn((_, response) => void response.writeHead(200).write('{'));
    const started = performance.now();
    const error = await failureOf(bench.send({ timeoutMs: 300 }));
    assert.match(error.message, / gave no answer within 0\.3 s$/);
    assert.ok(performance.now() - started < 5000);
  });

  it('ends at once when its caller does not want it any more, or it is closed', async () => {
    await using bench = await standIn(() => undefined);
    const stop = new AbortController();
    const canceled = failureOf(bench.send({ signal: stop.signal }));
    const closed = failureOf(bench.send());
    setImmediate(() => stop.abort());
    assert.equal((await canceled).code, 'canceled');
    await bench.client.close();
    assert.equal((await closed).message, 'the connection to Vault is closed');
    assert.equal((await failureOf(bench.send())).message, 'the connection to Vault is closed');
  });

  it('logs in once for many that ask at once, and once more when its token is refused to all of them', async () => {
    await using bench = await standIn((request, response) => {
      const isFirst = request.headers['x-vault-token'] === `${TOKEN}1`;
      json(response, isFirst ? 403 : 200, isFirst ? { errors: ['permission denied'] } : { data: {} });
    });
    await Promise.all(Array.from({ length: 20 }, () => bench.send()));
    assert.equal(bench.logins, 2);
  });

  it('does not log in for ever where the policy says no', async () => {
    await using bench = await standIn((_, response) => json(response, 403, { errors: ['permission denied'] }));
    const error = await failureOf(bench.send());
    assert.match(error.message, / refuses GET secret with 403: check the token and its policies$/);
    assert.equal(bench.logins, 2);
    assert.equal(bench.asked.length, 2);
  });
});
