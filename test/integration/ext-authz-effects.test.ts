/** What a real Envoy does with the replies: to the request on its way on, to the response, and to the client. */
import assert from 'node:assert/strict';
import { request as send, type IncomingHttpHeaders } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { freeLoopbackAddress, freePorts } from '../support/envoy-address.ts';
import type { YamlMap } from '../support/envoy-bootstrap.ts';
import { startEnvoy } from '../support/envoy.ts';
import { startHttpStandIn } from '../support/http-stand-in.ts';
import { entriesFor, startTestServer } from '../support/server.ts';

/** The request says in a header what the decision is. */
const POLICY = `package answers

decision := json.unmarshal(input.attributes.request.http.headers["x-answer"])
`;

const TYPE = 'type.googleapis.com/envoy.extensions';

interface Seen {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** What came to the upstream; undefined when nothing did. */
  readonly upstream?: { readonly url: string; readonly headers: IncomingHttpHeaders };
}

let ask: (decision: unknown, headers?: Readonly<Record<string, string>>, path?: string) => Promise<Seen>;
const open = new AsyncDisposableStack();

before(async () => {
  const server = open.use(
    await startTestServer({
      entries: entriesFor('/envoy'),
      config: `authz:
  listen: unix:./authz.sock
  policies: { default: { path: ./answers.rego, entrypoint: answers/decision } }
`,
      files: { 'answers.rego': POLICY },
    }),
  );
  const upstream = open.use(
    await startHttpStandIn({
      answer: (request, response) => {
        response.setHeader('x-from', 'upstream');
        response.end(JSON.stringify({ url: request.url, headers: request.headers }));
      },
    }),
  );
  const address = await freeLoopbackAddress();
  const [adminPort = 0, port = 0] = await freePorts(address, 2);
  const envoy = await startEnvoy({
    name: 'effects',
    dir: server.folder,
    bootstrap: bootstrap({
      address,
      adminPort,
      port,
      gate: server.gate.replace('unix:', ''),
      upstreamPort: upstream.port,
    }),
  });
  open.defer(() => envoy.stop());
  ask = (decision, headers = {}, path = '/a?q=0&r=0') =>
    new Promise((resolve, reject) => {
      const sent = send(
        { host: address, port, path, agent: false, headers: { ...headers, 'x-answer': JSON.stringify(decision) } },
        (response) => {
          let body = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => (body += chunk));
          response.on('end', () => {
            const seen = { status: response.statusCode ?? 0, headers: response.headers, body };
            const passed = response.headers['x-from'] === 'upstream';
            resolve(passed ? { ...seen, upstream: JSON.parse(body) as NonNullable<Seen['upstream']> } : seen);
          });
        },
      );
      sent.on('error', reject);
      sent.end();
    });
});

after(() => open.disposeAsync());

interface Places {
  readonly address: string;
  readonly adminPort: number;
  readonly port: number;
  readonly gate: string;
  readonly upstreamPort: number;
}

function bootstrap({ address, adminPort, port, gate, upstreamPort }: Places): YamlMap {
  return {
    admin: { address: { socket_address: { address, port_value: adminPort } } },
    static_resources: {
      listeners: [
        {
          name: 'in',
          address: { socket_address: { address, port_value: port } },
          filter_chains: [
            {
              filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: connectionManager() }],
            },
          ],
        },
      ],
      clusters: [
        cluster(
          'gate',
          { pipe: { path: gate } },
          {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
        ),
        cluster('upstream', { socket_address: { address: '127.0.0.1', port_value: upstreamPort } }, {}),
      ],
    },
  };
}

function cluster(name: string, address: YamlMap, options: YamlMap): YamlMap {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    typed_extension_protocol_options: options,
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  };
}

function connectionManager(): YamlMap {
  return {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'in',
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'upstream' } }] },
      ],
    },
    http_filters: [
      {
        name: 'envoy.filters.http.ext_authz',
        typed_config: {
          '@type': `${TYPE}.filters.http.ext_authz.v3.ExtAuthz`,
          transport_api_version: 'V3',
          grpc_service: { envoy_grpc: { cluster_name: 'gate', authority: 'svidgate' }, timeout: '5s' },
          failure_mode_allow: true,
        },
      },
      { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } },
    ],
  };
}

describe('an allow', () => {
  test('sets request headers in the place of what the client sent, with all values, also of new ones', async () => {
    const headers = { 'X-User': 'alice', 'x-new': ['1', '2'], 'x-groups': ['a', 'b'] };
    const { upstream } = await ask({ allowed: true, headers }, { 'x-user': 'mallory', 'x-groups': 'admin' });
    assert.equal(upstream?.headers['x-user'], 'alice');
    assert.match(upstream.headers['x-new'] as string, /^1, ?2$/);
    assert.match(upstream.headers['x-groups'] as string, /^a, ?b$/);
  });

  test('removes request headers, and sets and removes parameters of the query', async () => {
    const decision = {
      allowed: true,
      request_headers_to_remove: ['X-Secret'],
      query_parameters_to_set: { q: ['1', '2'], s: 'x y HTTP/1.1\r\nhost: y#', t: '%2b+' },
      query_parameters_to_remove: ['r'],
    };
    const { upstream } = await ask(decision, { 'x-secret': 's', 'x-kept': 'k' });
    assert.equal(upstream?.headers['x-secret'], undefined);
    assert.equal(upstream?.headers['x-kept'], 'k');
    const { searchParams } = new URL(upstream.url, 'http://x');
    // Of several values Envoy keeps the last one, as with opa-envoy-plugin.
    assert.deepEqual([searchParams.getAll('q'), searchParams.get('r')], [['2'], null]);
    assert.deepEqual([searchParams.get('s'), searchParams.get('t')], ['x y HTTP/1.1\r\nhost: y#', '+ ']);
  });

  test('adds response headers to those of the upstream', async () => {
    const response = { 'x-from': 'gate', 'Set-Cookie': ['a=1', 'b=2'] };
    const { headers } = await ask({ allowed: true, response_headers_to_add: response });
    assert.equal(headers['x-from'], 'upstream, gate');
    assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2']);
  });
});

describe('a deny', () => {
  test('gives the client status, headers and body of the policy', async () => {
    const headers = { 'WWW-Authenticate': 'Bearer', 'Set-Cookie': ['a=1', 'b=2'] };
    const seen = await ask({ allowed: false, http_status: 401, headers, body: 'who?' });
    assert.equal(seen.upstream, undefined);
    assert.deepEqual([seen.status, seen.body, seen.headers['www-authenticate']], [401, 'who?', 'Bearer']);
    assert.deepEqual(seen.headers['set-cookie'], ['a=1', 'b=2']);
  });

  test('gives a body in the form that the client asks for, where the policy has none', async () => {
    const json = await ask(false, { accept: 'application/json' });
    assert.deepEqual([json.status, json.headers['content-type']], [403, 'application/json']);
    assert.match((JSON.parse(json.body) as { readonly decision_id: string }).decision_id, /^[0-9a-f-]{36}$/);
    const html = await ask(false, { accept: 'text/html,*/*;q=0.8' });
    assert.match(html.headers['content-type'] ?? '', /^text\/html/);
    assert.match((await ask(false)).body, /^403 Forbidden\ndecision [0-9a-f-]{36}\n$/);
    const grpc = await ask(false, { 'content-type': 'application/grpc' });
    assert.equal(grpc.headers['content-type'], 'application/grpc');
    assert.equal(grpc.headers['grpc-status'], '7');
    assert.match(String(grpc.headers['grpc-message']), /^Forbidden/);
  });

  test('is what comes of each thing that Envoy would do and must not', async () => {
    const decisions = [
      { allowed: true, headers: { ':path': '/admin' } },
      { allowed: true, headers: { host: 'evil.test' } },
      { allowed: true, headers: { 'x-envoy-original-path': '/admin' } },
      { allowed: true, headers: { 'x-a': 'b\r\nhost: evil.test' } },
      { allowed: true, response_headers_to_add: { 'x-a': 'b\r\n\r\nbody' } },
      { allowed: true, headers: { 'x a': 'b' } },
      { allowed: false, http_status: 200 },
      { allowed: 'true' },
      'true',
      null,
    ];
    for (const decision of decisions) {
      const { status, upstream } = await ask(decision);
      assert.deepEqual([status, upstream], [403, undefined], JSON.stringify(decision));
    }
    assert.equal((await ask(true)).status, 200);
  });
});
