/** nginx with the configuration of the page, in front of a service, asking the gate. */
import assert from 'node:assert/strict';
import { request, type IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { codeBlocks, readPage } from '../docs/markdown.ts';
import { freePorts } from '../support/envoy-address.ts';
import { startHttpStandIn } from '../support/http-stand-in.ts';
import { jwksOf, makeJwtIssuer, signJwt, type JwtIssuer } from '../support/jwt-issuer.ts';
import { startNginx, withoutNginx } from '../support/nginx.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';

const PAGE = 'docs/other-doors.md';
const POLICY = `package envoy.authz

default allow := {"allowed": false}

http := input.attributes.request.http

allow := {"allowed": true, "headers": {"X-User": "ann"}} if {
	http.method in {"GET", "HEAD", "POST"}
	http.host == "orders.test"
	input.parsed_path[0] == "orders"
	not http.headers["x-forwarded-client-cert"]
}

allow := {"allowed": false, "http_status": 401, "headers": {"WWW-Authenticate": "Negotiate"}} if input.parsed_path == ["login"]

allow := {"allowed": false, "http_status": 503} if input.parsed_path == ["busy"]

allow := {"allowed": false, "http_status": 204} if input.parsed_path == ["empty"]

allow := {"allowed": true, "request_headers_to_remove": ["x-secret"]} if input.parsed_path == ["remove"]

allow := {"allowed": true, "headers": {"X-User": input.svidgate.jwt.claims.sub}} if {
	input.parsed_path == ["token"]
	input.svidgate.jwt.verified
}
`;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Reached {
  readonly url: string;
  readonly method: string;
  readonly user: string | undefined;
}

describe('nginx asks the gate', { skip: withoutNginx }, () => {
  let server: TestServer;
  let port = 0;
  let issuer: JwtIssuer;
  const open = new AsyncDisposableStack();
  before(async () => {
    issuer = await makeJwtIssuer('one');
    server = await startTestServer({
      entries: entriesFor('/nginx'),
      config: `authz:
  listen: unix:./gate.sock
  path_guard: reject
  policies: { default: { path: ./authz.rego } }
  jwt_providers:
    outside: { issuer: https://issuer.test, audiences: [api], algorithms: [ES256], jwks_file: ./jwks.json }
  http: { listen: unix:./nginx.sock, request: nginx, callers: [{ spiffe_id: spiffe://example.test/nginx }] }
`,
      files: { 'authz.rego': POLICY, 'jwks.json': jwksOf(issuer) },
    });
    open.use(server);
    const service = open.use(
      await startHttpStandIn({
        answer: ({ url, method, headers }, response) => {
          response.end(JSON.stringify({ url, method, user: headers['x-user'] }));
        },
      }),
    );
    [port = 0] = await freePorts('127.0.0.1', 1);
    const block = codeBlocks(PAGE, readPage(PAGE)).find(({ language }) => language === 'nginx');
    const http = (block?.text ?? '')
      .replace('unix:/run/svidgate/nginx.sock', (server.running.addresses.http ?? '').replace('unix:', 'unix:'))
      .replace('127.0.0.1:8080', `127.0.0.1:${port}`)
      .replace('127.0.0.1:3000', `127.0.0.1:${service.port}`);
    open.use(await startNginx(server.folder, http, `http://127.0.0.1:${port}/`));
  });
  after(() => open.disposeAsync());

  function get(
    path: string,
    more: { readonly method?: string; readonly headers?: readonly string[] } = {},
  ): Promise<Answer> {
    const { method = 'GET', headers = [] } = more;
    return new Promise((resolve, reject) => {
      const given = ['host', 'orders.test', ...headers];
      const sent = request({ host: '127.0.0.1', port, path, method, headers: given, agent: false }, (response) => {
        text(response).then(
          (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
          reject,
        );
      });
      sent.on('error', reject);
      sent.end(method === 'POST' ? 'a body' : undefined);
    });
  }
  const reached = ({ status, body }: Answer): Reached => {
    assert.equal(status, 200, body);
    return JSON.parse(body) as Reached;
  };

  test('an allow reaches the service as it came, with what the policy sets', async () => {
    const answer = await get('/orders/7?a=b%20c', { headers: ['x-user', 'root'] });
    assert.deepEqual(reached(answer), { url: '/orders/7?a=b%20c', method: 'GET', user: 'ann' });
    assert.match(String(answer.headers['x-decision']), /^[0-9a-f-]{36}$/);
    const post = await get('/orders', { method: 'POST', headers: ['content-length', '6'] });
    assert.deepEqual(reached(post), { url: '/orders', method: 'POST', user: 'ann' });
  });

  test('a deny is a 403 or a 401, and nothing that nginx takes for an allow or an error', async () => {
    for (const [path, status] of [
      ['/other', 403],
      ['/login', 401],
      ['/busy', 403],
      ['/empty', 403],
      ['/remove', 403],
      ['/orders/../login', 403],
      ['/orders//7', 403],
    ] as const) {
      assert.equal((await get(path)).status, status, path);
    }
    assert.equal((await get('/login')).headers['www-authenticate'], 'Negotiate');
    assert.equal((await get('/orders', { method: 'DELETE' })).status, 403);
  });

  test('what a client says of itself counts for nothing', async () => {
    const forged = ['x-original-uri', '/orders', 'x-original-method', 'GET', 'x-forwarded-client-cert', 'By=x'];
    assert.equal((await get('/other', { headers: forged })).status, 403);
    assert.equal((await get('/orders', { headers: forged })).status, 200);
    assert.ok([403, 404].includes((await get('/svidgate', { headers: forged })).status), 'the location is internal');
  });

  test('a token is verified', async () => {
    const now = Math.floor(Date.now() / 1000);
    const token = await signJwt(issuer, {
      iss: 'https://issuer.test',
      aud: 'api',
      sub: 'ben',
      iat: now,
      exp: now + 60,
    });
    const bearer = (value: string): readonly string[] => ['authorization', `Bearer ${value}`];
    assert.equal(reached(await get('/token', { headers: bearer(token) })).user, 'ben');
    assert.equal((await get('/token', { headers: bearer(`${token}x`) })).status, 403);
  });

  test('many at once, on connections that stay', async () => {
    // Few enough for a busy machine to answer within the two seconds that the page gives it.
    for (let round = 0; round < 10; round += 1) {
      const paths = Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? '/orders' : '/other'));
      const answers = await Promise.all(paths.map((path) => get(path)));
      answers.forEach(({ status }, index) => assert.equal(status, paths[index] === '/orders' ? 200 : 403));
    }
  });

  test('where the gate is away nothing passes', async () => {
    await server.running.stop('to see what nginx does');
    assert.equal((await get('/orders')).status, 500);
  });
});
