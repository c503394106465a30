/** The gate behind Traefik's forwardAuth, by a client that does what the configuration of the page tells Traefik to do. */
import assert from 'node:assert/strict';
import { request as ask, type RequestOptions } from 'node:https';
import { after, before, test } from 'node:test';
import { text } from 'node:stream/consumers';
import { parse } from 'yaml';
import { codeBlocks, readPage } from '../docs/markdown.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity, type PeerIdentity } from '../support/tls-peer.ts';

const PAGE = 'docs/other-doors.md';
const ID = 'spiffe://example.test';
const POLICY = `package envoy.authz

default allow := {"allowed": false, "http_status": 401, "headers": {"www-authenticate": "Bearer"}, "body": "who?"}

allow := {"allowed": true, "headers": {"X-User": "ann"}} if {
	http.method == "GET"
	http.host == "orders.test"
	http.scheme == "https"
	input.parsed_path == ["orders", "7"]
	input.attributes.source.address.socketAddress.address == "192.0.2.7"
	input.svidgate.caller.spiffe_ids == ["${ID}/traefik"]
}

http := input.attributes.request.http
`;

interface ForwardAuth {
  readonly address: string;
  readonly trustForwardHeader: boolean;
  readonly authResponseHeaders: readonly string[];
  readonly tls: Readonly<Record<'ca' | 'cert' | 'key', string>>;
}

function documented(): ForwardAuth {
  const block = codeBlocks(PAGE, readPage(PAGE)).find((each) => each.text.includes('forwardAuth:'));
  const { http } = parse(block?.text ?? '') as {
    readonly http: { readonly middlewares: { readonly svidgate: { readonly forwardAuth: ForwardAuth } } };
  };
  return http.middlewares.svidgate.forwardAuth;
}

let server: TestServer;
let identity: PeerIdentity;
let roots: string;
before(async () => {
  server = await startTestServer({
    entries: entriesFor('/traefik'),
    config: `authz:
  listen: unix:./gate.sock
  policies: { default: { path: ./authz.rego } }
  http:
    listen: 127.0.0.1:0
    request: traefik
    tls: { spiffe_id: ${ID}/gate, dns_names: [gate.acme.test] }
    callers: [{ spiffe_id: ${ID}/traefik }]
`,
    files: { 'authz.rego': POLICY },
  });
  identity = await fetchIdentity(server.socket, `${ID}/traefik`);
  roots = await cliOf(server).text('bundle', 'show', '--format', 'pem');
});
after(() => server[Symbol.asyncDispose]());

interface Answer {
  readonly status: number;
  /** Of the request on its way on; undefined when it ends here. */
  readonly forwarded?: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** A client's request at Traefik: all of its headers are copied, and the five are Traefik's own. */
async function forwardAuth(
  client: { readonly method: string; readonly uri: string; readonly headers: Readonly<Record<string, string>> },
  config: ForwardAuth,
): Promise<Answer> {
  const { hostname, pathname } = new URL(config.address);
  const [host = '', port = ''] = (server.running.addresses.http ?? '').split(':');
  const own = {
    'x-forwarded-method': client.method,
    'x-forwarded-proto': 'https',
    'x-forwarded-host': client.headers['host'] ?? '',
    'x-forwarded-uri': client.uri,
    'x-forwarded-for': '192.0.2.7',
  };
  const headers = config.trustForwardHeader ? { ...own, ...client.headers } : { ...client.headers, ...own };
  const options: RequestOptions = {
    host,
    port: Number(port),
    servername: hostname,
    path: pathname,
    method: 'GET',
    headers: { ...headers, host: hostname },
    ca: roots,
    cert: identity.cert,
    key: identity.key,
    agent: false,
  };
  const {
    status,
    headers: got,
    body,
  } = await new Promise<Answer>((resolve, reject) => {
    const sent = ask(options, (response) => {
      text(response).then(
        (all) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: all }),
        reject,
      );
    });
    sent.on('error', reject);
    sent.end();
  });
  if (status < 200 || status >= 300) return { status, headers: got, body };
  const forwarded: Record<string, string> = { ...client.headers };
  for (const name of config.authResponseHeaders.map((each) => each.toLowerCase())) {
    Reflect.deleteProperty(forwarded, name);
    const value = got[name];
    if (value !== undefined) forwarded[name] = String(value);
  }
  return { status, headers: got, body, forwarded };
}

test('what the page tells Traefik is a request that is judged, and headers that the client does not write', async () => {
  const config = documented();
  assert.deepEqual(Object.keys(config.tls), ['ca', 'cert', 'key']);
  assert.equal(config.trustForwardHeader, false);
  const forged = { 'x-user': 'root', 'x-forwarded-uri': '/admin', 'x-forwarded-method': 'DELETE' };
  const headers = { host: 'orders.test', ...forged };
  const { status, forwarded } = await forwardAuth({ method: 'GET', uri: '/orders/7?a=b', headers }, config);
  assert.equal(status, 200);
  assert.equal(forwarded?.['x-user'], 'ann');

  for (const [method, uri, host] of [
    ['DELETE', '/orders/7', 'orders.test'],
    ['GET', '/orders/8', 'orders.test'],
    ['GET', '/orders/7', 'elsewhere.test'],
  ] as const) {
    const denied = await forwardAuth({ method, uri, headers: { host } }, config);
    assert.deepEqual([denied.status, denied.headers['www-authenticate'], denied.body], [401, 'Bearer', 'who?']);
    assert.equal(denied.forwarded, undefined);
  }

  // Why it is false on the page.
  const trusting = { ...config, trustForwardHeader: true };
  const fooled = { host: 'orders.test', 'x-forwarded-uri': '/orders/7' };
  assert.equal((await forwardAuth({ method: 'GET', uri: '/admin', headers: fooled }, trusting)).status, 200);
});
