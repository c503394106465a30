import { Agent, request, type RequestOptions } from 'node:https';
import { text } from 'node:stream/consumers';
import { freeLoopbackAddress, freePorts } from './envoy-address.ts';
import type { YamlMap } from './envoy-bootstrap.ts';
import { linkEnvoy, startEnvoy, type Envoy } from './envoy.ts';
import type { HttpAnswer, HttpAsked } from './http-asker.ts';
import type { TestServer } from './server.ts';
import type { PeerIdentity } from './tls-peer.ts';

/** An Envoy that asks the gate through both of its doors. */
export interface DoorEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  /** Sends a request to the listener that asks through this door. */
  send(door: Door, asked: HttpAsked, identity?: Pick<PeerIdentity, 'cert' | 'key'>): Promise<HttpAnswer>;
  /** How often the filter was told allow, told deny, and not told. */
  counts(door: Door): Promise<{ readonly ok: number; readonly denied: number; readonly error: number }>;
}

export type Door = 'grpc' | 'http';

const TYPE = 'type.googleapis.com/envoy.extensions';
const ANY: YamlMap = { patterns: [{ safe_regex: { regex: '.*' } }] };

/**
 * Answers itself with the headers that its upstream would see. Where it is told nothing it lets pass, which no example does:
 * whatever is not an explicit deny shows as an allow. Its client certificates are checked by svidgate alone.
 */
export async function startDoorEnvoy(
  server: Pick<TestServer, 'folder' | 'socket' | 'gate'>,
  httpDoor: { readonly address: string; readonly pathPrefix?: string },
  binary?: string,
): Promise<DoorEnvoy> {
  const address = await freeLoopbackAddress();
  const [adminPort = 0, grpcPort = 0, httpPort = 0, echoPort = 0] = await freePorts(address, 4);
  const ports: Readonly<Record<Door, number>> = { grpc: grpcPort, http: httpPort };
  const envoy = await startEnvoy({
    name: 'doors',
    dir: server.folder,
    ...(binary === undefined ? {} : { executable: await linkEnvoy(server.folder, 'doors', binary) }),
    bootstrap: {
      node: { id: 'doors', cluster: 'doors' },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: {
        listeners: [
          listener('grpc', { address, port_value: grpcPort }, grpcFilter()),
          listener('http', { address, port_value: httpPort }, httpFilter(httpDoor.pathPrefix)),
          echo({ address, port_value: echoPort }),
        ],
        clusters: [
          cluster('svidgate', pipe(server.socket), true),
          cluster('gate', pipe(server.gate), true),
          cluster('gate-http', pipe(httpDoor.address), false),
          cluster('echo', { socket_address: { address, port_value: echoPort } }, false),
        ],
      },
    },
  });
  const count = async (name: string): Promise<number> => (await envoy.stat(name)) ?? 0;
  return {
    envoy,
    send: (door, asked, identity) => send({ host: address, port: ports[door] }, asked, identity),
    async counts(door) {
      const of = (name: string): Promise<number> => count(`http.${door}.ext_authz.${name}`);
      return { ok: await of('ok'), denied: await of('denied'), error: await of('error') };
    },
    [Symbol.asyncDispose]: () => envoy.stop(),
  };
}

function pipe(address: string): YamlMap {
  return { pipe: { path: address.replace('unix:', '') } };
}

async function send(
  at: { readonly host: string; readonly port: number },
  asked: HttpAsked,
  identity: Pick<PeerIdentity, 'cert' | 'key'> | undefined,
): Promise<HttpAnswer> {
  const { method = 'GET', path = '/', headers = ['host', 'orders.test'], body } = asked;
  const agent = new Agent({ maxCachedSessions: 0 });
  const { cert, key } = identity ?? {};
  const options: RequestOptions = { ...at, method, path, headers: [...headers], agent, rejectUnauthorized: false };
  try {
    return await new Promise<HttpAnswer>((resolve, reject) => {
      const sent = request({ ...options, cert, key, timeout: 10_000 }, (response) => {
        text(response).then(
          (got) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: got }),
          reject,
        );
      });
      sent.on('timeout', () => sent.destroy(new Error('no answer')));
      sent.on('error', reject);
      sent.end(body);
    });
  } finally {
    agent.destroy();
  }
}

function cluster(name: string, address: YamlMap, isHttp2: boolean): YamlMap {
  const protocol: YamlMap = isHttp2 ? { http2_protocol_options: {} } : { http_protocol_options: {} };
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: protocol,
      },
    },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  };
}

const FROM_SVIDGATE: YamlMap = {
  resource_api_version: 'V3',
  api_config_source: {
    api_type: 'GRPC',
    transport_api_version: 'V3',
    grpc_services: [{ envoy_grpc: { cluster_name: 'svidgate', authority: 'svidgate' } }],
  },
};

const FILTER: YamlMap = {
  '@type': `${TYPE}.filters.http.ext_authz.v3.ExtAuthz`,
  transport_api_version: 'V3',
  failure_mode_allow: true,
  with_request_body: { max_request_bytes: 1024, allow_partial_message: true },
};

function grpcFilter(): YamlMap {
  return {
    ...FILTER,
    grpc_service: { envoy_grpc: { cluster_name: 'gate', authority: 'svidgate' }, timeout: '5s' },
    include_peer_certificate: true,
  };
}

function httpFilter(pathPrefix: string | undefined): YamlMap {
  return {
    ...FILTER,
    http_service: {
      server_uri: { uri: 'http://svidgate', cluster: 'gate-http', timeout: '5s' },
      ...(pathPrefix === undefined ? {} : { path_prefix: pathPrefix }),
      authorization_response: {
        allowed_upstream_headers: { patterns: [{ prefix: 'x-up-' }] },
        allowed_client_headers: ANY,
        allowed_client_headers_on_success: { patterns: [{ prefix: 'x-down-' }] },
        dynamic_metadata_from_headers: { patterns: [{ prefix: 'x-svidgate-' }] },
      },
    },
    allowed_headers: ANY,
  };
}

function listener(name: Door, socketAddress: YamlMap, filter: YamlMap): YamlMap {
  const log = { text_format_source: { inline_string: `${name} %DYNAMIC_METADATA(envoy.filters.http.ext_authz)%\n` } };
  return {
    name,
    address: { socket_address: socketAddress },
    filter_chains: [
      {
        transport_socket: {
          name: 'envoy.transport_sockets.tls',
          typed_config: {
            '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
            common_tls_context: {
              tls_certificate_sds_secret_configs: [{ name: 'spiffe://example.test/envoy', sds_config: FROM_SVIDGATE }],
              validation_context: { trust_chain_verification: 'ACCEPT_UNTRUSTED' },
            },
          },
        },
        filters: [
          manager(
            name,
            [{ name: 'envoy.filters.http.ext_authz', typed_config: filter }, ROUTER],
            {
              forward_client_cert_details: 'SANITIZE_SET',
              set_current_client_cert_details: { cert: true, chain: true, uri: true },
              access_log: [
                {
                  name: 'envoy.access_loggers.stdout',
                  typed_config: { '@type': `${TYPE}.access_loggers.stream.v3.StdoutAccessLog`, log_format: log },
                },
              ],
            },
            { route: { cluster: 'echo' } },
          ),
        ],
      },
    ],
  };
}

const ROUTER: YamlMap = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` },
};

/** Says which of the headers reached it that a policy may set or take away. */
function echo(socketAddress: YamlMap): YamlMap {
  const format = 'up-a=%REQ(x-up-a)% up-b=%REQ(x-up-b)% secret=%REQ(x-secret)% authorization=%REQ(authorization)%';
  const action: YamlMap = {
    direct_response: { status: 200, body: { inline_string: 'reached\n' } },
  };
  const filter = manager('echo', [ROUTER], {}, action);
  const seen = { header: { key: 'x-seen', value: format } };
  return {
    name: 'echo',
    address: { socket_address: socketAddress },
    filter_chains: [{ filters: [withResponseHeader(filter, seen)] }],
  };
}

function withResponseHeader(filter: YamlMap, header: YamlMap): YamlMap {
  const config = filter['typed_config'] as YamlMap;
  const routes = config['route_config'] as YamlMap;
  return { ...filter, typed_config: { ...config, route_config: { ...routes, response_headers_to_add: [header] } } };
}

// oxlint-disable-next-line max-params -- its parts are written beside one another
function manager(name: string, filters: readonly YamlMap[], more: YamlMap, action: YamlMap): YamlMap {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      route_config: {
        virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, ...action }] }],
      },
      http_filters: [...filters],
      ...more,
    },
  };
}
