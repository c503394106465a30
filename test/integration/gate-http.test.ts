/** The gate's door for HTTP: whom it believes what, and that every answer is explicit. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { after, before, describe, test } from 'node:test';
import { askHttp, openRaw, sendRaw, type HttpAnswer, type HttpAsked } from '../support/http-asker.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Allows what is asked with GET, and tells what it saw. */
const POLICY = `package envoy.authz

default allow := {"allowed": false}

allow := {"allowed": true, "headers": {"x-seen": json.marshal(seen)}} if http.method == "GET"

http := input.attributes.request.http

seen := {
	"path": http.path,
	"host": http.host,
	"scheme": object.get(http, "scheme", ""),
	"method": http.method,
	"from": object.get(input.attributes, ["source", "address", "socketAddress", "address"], ""),
	"headers": http.headers,
	"body": object.get(http, "body", ""),
	"caller": input.svidgate.caller,
	"peer": input.svidgate.peer,
	"policy": input.svidgate.policy,
}
`;
/** Gives back what the header says. */
const ECHO = `package envoy.authz

allow := json.unmarshal(input.attributes.request.http.headers["x-answer"])
`;
const ID = 'spiffe://example.test';

interface Seen {
  readonly path: string;
  readonly host: string;
  readonly scheme: string;
  readonly method: string;
  readonly from: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly caller: { readonly kind: string; readonly listener: string };
  readonly peer: { readonly verified: boolean; readonly reason?: string };
  readonly policy: string;
}

let server: TestServer;
before(async () => {
  server = await startTestServer({
    entries: entriesFor('/edge', '/other'),
    config: `authz:
  listen: unix:./gate.sock
  max_request_bytes: 65536
  policies: { default: { path: ./authz.rego }, echo: { path: ./echo.rego }, closed: { path: ./authz.rego } }
  http:
    listen: unix:./http.sock
    request: envoy
    listeners:
      prefixed: { listen: unix:./prefixed.sock, request: envoy, path_prefix: /check, policy_in_path: true, policies: [default, echo] }
      nginx: { listen: unix:./nginx.sock, request: nginx }
      nginx-echo: { listen: unix:./nginx-echo.sock, request: nginx, default_policy: echo }
      traefik: { listen: unix:./traefik.sock, request: traefik }
      traefik-echo: { listen: unix:./traefik-echo.sock, request: traefik, default_policy: echo }
      echo: { listen: unix:./echo.sock, request: envoy, default_policy: echo }
      nobody: { listen: unix:./nobody.sock, request: envoy, callers: [{ spiffe_id: ${ID}/nobody }] }
      tls: { listen: 127.0.0.1:0, request: envoy, tls: { spiffe_id: ${ID}/gate }, callers: [{ spiffe_id: ${ID}/edge }] }
`,
    files: { 'authz.rego': POLICY, 'echo.rego': ECHO },
  });
});
after(() => server[Symbol.asyncDispose]());

function at(name = ''): string {
  const { addresses } = server.running;
  return (name === '' ? addresses.http : addresses[`http:${name}`]) ?? '';
}

function seenIn({ status, headers }: HttpAnswer): Seen {
  assert.equal(status, 200);
  return JSON.parse(String(headers['x-seen'])) as Seen;
}

/** An explicit deny, and the reason that is logged for it. */
async function reasonOf(answer: HttpAnswer): Promise<string> {
  assert.equal(answer.status, 403);
  const id = answer.headers['x-svidgate-decision-id'];
  const line = await waitUntil('the log line', 5000, () => server.lines.find((each) => each['decision_id'] === id));
  return String(line['reason']);
}

describe('what is asked', () => {
  test('by Envoy: the request itself', async () => {
    const seen = seenIn(
      await askHttp(at(), {
        path: '/a/b?c=1',
        headers: [
          'host',
          'orders.test',
          'x-a',
          '1',
          'x-a',
          '2',
          'x-forwarded-proto',
          'https',
          'x-envoy-internal',
          'true',
        ],
      }),
    );
    assert.deepEqual([seen.path, seen.host, seen.scheme, seen.method], ['/a/b?c=1', 'orders.test', 'https', 'GET']);
    assert.equal(seen.headers['x-a'], '1,2');
    assert.equal(seen.headers[':path'], '/a/b?c=1');
    assert.equal(seen.headers['host'], undefined);
    assert.equal(seen.headers['x-envoy-internal'], undefined, 'the hop to us');
    assert.deepEqual(seen.peer, { verified: false, reason: 'no_certificate' });
    assert.deepEqual([seen.caller.kind, seen.caller.listener], ['attested', 'http']);
  });

  test('a body, and one that is larger than is read', async () => {
    const headers = ['host', 'a.test', 'content-length', '3'];
    assert.equal(seenIn(await askHttp(at(), { headers, body: 'abc' })).body, 'abc');
    const chunked = ['host', 'a.test', 'transfer-encoding', 'chunked'];
    assert.equal(seenIn(await askHttp(at(), { headers: chunked, body: 'abc' })).body, 'abc');
    const answer = await sendRaw(
      at(),
      `GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 65537\r\n\r\n${'x'.repeat(65_537)}`,
    );
    assert.match(answer, /^HTTP\/1\.1 403 /);
  });

  test('by Envoy with a prefix and a policy in the path', async () => {
    const seen = seenIn(await askHttp(at('prefixed'), { path: '/check/default/a?b' }));
    assert.deepEqual([seen.path, seen.policy], ['/a?b', 'default']);
    const denied = [
      '/a',
      '/check',
      '/check/',
      '/check/default',
      '/check/default?a',
      '/checked/default/a',
      '/check//a',
      '/check/%64efault/a',
    ];
    for (const path of denied) {
      assert.match(await reasonOf(await askHttp(at('prefixed'), { path })), /^request_refused/, path);
    }
    for (const path of ['/check/closed/a', '/check/none/a']) {
      assert.match(await reasonOf(await askHttp(at('prefixed'), { path })), /^policy_not_allowed/, path);
    }
  });

  const nginx = ['host', 'orders.test', 'x-original-uri', '/a?b', 'x-original-method', 'GET'];
  test('by nginx: two headers, and nothing that only Envoy may write', async () => {
    const more = ['x-envoy-auth-partial-body', 'true', 'x-forwarded-client-cert', 'By=x', 'x-user', 'me'];
    const seen = seenIn(await askHttp(at('nginx'), { headers: [...nginx, ...more] }));
    assert.deepEqual([seen.path, seen.method, seen.host], ['/a?b', 'GET', 'orders.test']);
    const { ':authority': _a, ':method': _m, ':path': _p, ...others } = seen.headers;
    assert.deepEqual(others, { 'x-user': 'me' });
    assert.match(await reasonOf(await askHttp(at('nginx'), { headers: nginx.with(5, 'POST') })), /^policy_denied/);
  });

  const traefik = [
    ['host', 'gate'],
    ['x-forwarded-method', 'GET'],
    ['x-forwarded-proto', 'https'],
    ['x-forwarded-host', 'orders.test'],
    ['x-forwarded-uri', '/a?b'],
    ['x-forwarded-for', '192.0.2.66, 192.0.2.7'],
  ].flat();
  test('by Traefik: five headers', async () => {
    const seen = seenIn(await askHttp(at('traefik'), { headers: traefik }));
    assert.deepEqual(
      [seen.path, seen.method, seen.host, seen.scheme, seen.from],
      ['/a?b', 'GET', 'orders.test', 'https', '192.0.2.7'],
    );
    assert.match(
      await reasonOf(await askHttp(at('traefik'), { headers: traefik.with(3, 'DELETE') })),
      /^policy_denied/,
    );
  });

  for (const [name, headers] of [
    ['nginx', nginx],
    ['traefik', traefik],
  ] as const) {
    test(`by ${name}, with a header that is missing, empty or doubled, or says what no request does`, async () => {
      for (let index = 0; index < headers.length; index += 2) {
        const own = headers.slice(index, index + 2);
        const isHost = own[0] === 'host';
        // Traefik's own host is that of the gate, and counts for nothing.
        if (isHost && name === 'traefik') continue;
        const wrong = [headers.toSpliced(index, 2), [...headers, ...own], headers.with(index + 1, '')];
        for (const some of wrong.slice(isHost ? 1 : 0)) {
          assert.match(await reasonOf(await askHttp(at(name), { headers: some })), /^request_refused/, String(own));
        }
      }
      const uri = headers.indexOf(name === 'nginx' ? 'x-original-uri' : 'x-forwarded-uri') + 1;
      for (const path of ['a', 'http://a.test/b', '*', '/a#b', '/a b', '/a\tb']) {
        assert.match(
          await reasonOf(await askHttp(at(name), { headers: headers.with(uri, path) })),
          /^request_refused/,
          path,
        );
      }
      assert.match(await reasonOf(await askHttp(at(name), { headers, path: '/other' })), /^request_refused/);
    });
  }
});

describe('what is answered', () => {
  const answer = (name: string, decision: object, asked: HttpAsked = {}): Promise<HttpAnswer> => {
    const given = ['x-answer', Buffer.from(JSON.stringify(decision)).toString('latin1')];
    const nginx = ['x-original-uri', '/', 'x-original-method', 'GET'];
    const traefik = ['method', 'GET', 'proto', 'https', 'host', 'a', 'uri', '/', 'for', '192.0.2.7'];
    const scheme = name.startsWith('nginx')
      ? nginx
      : name.startsWith('traefik')
        ? traefik.map((text, index) => (index % 2 === 0 ? `x-forwarded-${text}` : text))
        : [];
    return askHttp(at(name), { headers: ['host', 'a.test', ...scheme, ...given], ...asked });
  };

  test('an allow with what a policy asks for', async () => {
    const { status, headers, body } = await answer('echo', {
      allowed: true,
      headers: { 'x-up': ['1', 'ü'] },
      response_headers_to_add: { 'x-down': 'd' },
      request_headers_to_remove: ['X-Secret', 'x-other'],
      dynamic_metadata: { team: 'é' },
    });
    assert.deepEqual([status, body], [200, '']);
    assert.equal(Buffer.from(String(headers['x-up']), 'latin1').toString('utf8'), '1,ü');
    assert.equal(headers['x-down'], 'd');
    assert.equal(headers['x-envoy-auth-headers-to-remove'], 'x-secret,x-other');
    assert.equal(headers['x-svidgate-metadata'], '{"team":"\\u00e9"}');
    assert.equal(headers['x-svidgate-policy'], 'echo');
  });

  test('a deny, as each proxy can pass it on', async () => {
    const login = { allowed: false, http_status: 302, headers: { location: '/login' }, body: 'login' };
    const statuses = async (name: string, http_status: number): Promise<number> =>
      (await answer(name, { allowed: false, http_status })).status;
    const envoy = await answer('echo', login);
    assert.deepEqual([envoy.status, envoy.headers['location'], envoy.body], [302, '/login', 'login']);
    const nginx = await answer('nginx-echo', login);
    assert.deepEqual([nginx.status, nginx.headers['location'], nginx.body], [403, '/login', '']);
    for (const [status, byName] of [
      [401, { echo: 401, 'nginx-echo': 401, 'traefik-echo': 401 }],
      [404, { echo: 404, 'nginx-echo': 403, 'traefik-echo': 404 }],
      [503, { echo: 403, 'nginx-echo': 403, 'traefik-echo': 403 }],
      [200, { echo: 403, 'nginx-echo': 403, 'traefik-echo': 403 }],
    ] as const) {
      for (const [name, expected] of Object.entries(byName)) assert.equal(await statuses(name, status), expected, name);
    }
    const { headers } = await answer('traefik-echo', { allowed: false, dynamic_metadata: { team: 'a' } });
    assert.deepEqual(
      Object.keys(headers).filter((name) => name.startsWith('x-')),
      ['x-svidgate-decision-id'],
      'nothing says why',
    );
  });

  test('what cannot be carried is a deny, and is not left out', async () => {
    const refused: readonly (readonly [name: string, decision: object])[] = [
      ['echo', { query_parameters_to_remove: ['a'] }],
      ['echo', { query_parameters_to_set: { a: 'b' } }],
      ['echo', { headers: { 'x-a': '1' }, response_headers_to_add: { 'X-A': '2' } }],
      ['echo', { headers: { 'x-svidgate-policy': 'other' } }],
      ['echo', { headers: { 'x-envoy-auth-headers-to-remove': 'x' } }],
      ['echo', { headers: { connection: 'close' } }],
      ['nginx-echo', { request_headers_to_remove: ['x-a'] }],
      ['traefik-echo', { request_headers_to_remove: ['x-a'] }],
    ];
    for (const [name, decision] of refused) {
      const reason = await reasonOf(await answer(name, { allowed: true, ...decision }));
      assert.match(reason, /^reply_refused/, JSON.stringify(decision));
    }
  });

  test('what is no decision', async () => {
    assert.match(await reasonOf(await answer('echo', [])), /^wrong_type/);
  });
});

describe('what is no request', () => {
  const GET = 'GET / HTTP/1.1\r\nhost: a\r\n';
  const cases: readonly (readonly [name: string, bytes: string])[] = [
    ['bytes of another protocol', '\u0016\u0003\u0001\u0002\u0000\u0001\r\n\r\n'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a body of two lengths', `${GET}content-length: 1\r\ncontent-length: 2\r\n\r\nab`],
    ['a length and chunks', `${GET}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['chunks that are none', `${GET}transfer-encoding: chunked\r\n\r\nxyz\r\n\r\n`],
    ['an unknown transfer coding', `${GET}transfer-encoding: gzip\r\n\r\n`],
    ['chunks under another name', `${GET}transfer-encoding: xchunked\r\n\r\n`],
    ['a line feed alone', 'GET / HTTP/1.1\nhost: a\n\n'],
    ['a folded header', `${GET}x-a: 1\r\n 2\r\n\r\n`],
    ['a space before the colon', `${GET}x-a : 1\r\n\r\n`],
    ['headers without end', `${GET}x-a: ${'x'.repeat(70_000)}\r\n\r\n`],
    ['CONNECT', 'CONNECT a.test:443 HTTP/1.1\r\nhost: a\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\nconnection: close\r\n\r\n'],
    ['two hosts', 'GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n'],
    ['a host that is a list', 'GET / HTTP/1.1\r\nhost: a,b\r\nconnection: close\r\n\r\n'],
    ['the absolute form', 'GET http://b.test/a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'],
    ['no target', 'OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'],
    ['an expectation', `${GET}expect: 200-maybe\r\nconnection: close\r\nx-a: b\r\n\r\n`.replace('GET', 'PUT')],
    ['a method of nobody', 'FROB / HTTP/1.1\r\nhost: a\r\n\r\n'],
  ];
  for (const [name, bytes] of cases) {
    test(`${name}: an explicit 403, and the connection ends`, { timeout: 20_000 }, async () => {
      const answer = await sendRaw(at(), Buffer.from(bytes, 'latin1'));
      assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n/);
      assert.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, 'one answer');
      assert.doesNotMatch(answer, /x-seen/);
    });
  }

  test('a second request before the first was answered is refused, and nothing after it is read', async () => {
    const answer = await sendRaw(at(), `${GET}\r\n${GET}\r\n${GET}\r\n`);
    assert.deepEqual(
      [...answer.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status),
      ['200', '403'],
    );
  });

  test('an upgrade is asked about as any request', async () => {
    const answer = await sendRaw(at(), `${GET}connection: upgrade, close\r\nupgrade: websocket\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 200 /);
  });

  test('HEAD has no body, and a connection serves many', async () => {
    const socket = openRaw(at());
    const read = async (): Promise<string> => {
      const [piece] = (await once(socket, 'data')) as [Buffer];
      return piece.toString();
    };
    for (let count = 0; count < 20; count += 1) {
      socket.write(`${GET}\r\n`);
      assert.match(await read(), /^HTTP\/1\.1 200 /);
    }
    socket.write(GET.replace('GET', 'HEAD') + '\r\n');
    assert.match(await read(), /^HTTP\/1\.1 403 [\s\S]*\r\n\r\n$/);
    socket.destroy();
  });

  test('a request that never ends is answered in time', { timeout: 30_000 }, async () => {
    const [headers, body] = await Promise.all([
      sendRaw(at(), GET),
      sendRaw(at(), `${GET}content-length: 9\r\n\r\nabc`),
    ]);
    for (const answer of [headers, body]) assert.match(answer, /^HTTP\/1\.1 403 /);
  });
});

describe('who may ask', () => {
  test('nobody who is not one of the callers', async () => {
    assert.match(await reasonOf(await askHttp(at('nobody'))), /^caller_not_allowed/);
  });

  test('by TLS the holder of a certificate, until it is revoked', async () => {
    const address = at('tls');
    const [host = '', port = ''] = address.split(':');
    const ask = async (id: string): Promise<string> => {
      const { cert, key } = id === '' ? { cert: undefined, key: undefined } : await fetchIdentity(server.socket, id);
      const socket = connectTls({ host, port: Number(port), cert, key, rejectUnauthorized: false });
      const pieces: string[] = [];
      socket.on('data', (piece: Buffer) => pieces.push(piece.toString()));
      socket.on('error', () => undefined);
      socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      await once(socket, 'close');
      return pieces.join('');
    };
    const seen = /x-seen: (.*)\r\n/.exec(await ask(`${ID}/edge`))?.[1] ?? '{}';
    assert.deepEqual((JSON.parse(seen) as { readonly caller: unknown }).caller, {
      kind: 'tls',
      listener: 'http:tls',
      spiffe_ids: [`${ID}/edge`],
    });
    for (const id of ['', `${ID}/other`]) assert.equal(await ask(id), '', 'no byte for a stranger');

    const { cert, key, serial } = await fetchIdentity(server.socket, `${ID}/edge`);
    const socket = connectTls({ host, port: Number(port), cert, key, rejectUnauthorized: false });
    const next = async (): Promise<string> => {
      socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      return String((await once(socket, 'data'))[0]);
    };
    assert.match(await next(), /^HTTP\/1\.1 200 /);
    await cliOf(server).text('svid', 'revoke', '--serial', serial);
    assert.match(await next(), /^HTTP\/1\.1 403 [\s\S]*connection: close/i);
    socket.destroy();
  });
});
