import { freeLoopbackAddress, freePorts } from './envoy-address.ts';
import type { YamlMap } from './envoy-bootstrap.ts';
import { startEnvoy, type Envoy } from './envoy.ts';
import type { TestServer } from './server.ts';

export interface GateEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  readonly address: string;
  /** mTLS with the identity that svidgate gives; takes any client certificate, so that svidgate alone tells them apart. */
  readonly port: number;
  /** The same, and where svidgate does not answer it denies, as every Envoy should. */
  readonly strictPort: number;
  /** At `port`: how often the filter was told allow, told deny, and not told. */
  counts(): Promise<{ readonly ok: number; readonly denied: number; readonly error: number }>;
}

const TYPE = 'type.googleapis.com/envoy.extensions';

/**
 * A real Envoy in front of nothing but answers of its own, asking the gate of the server about each request. One
 * of its ports has `failure_mode_allow`, which no example has: whatever is not an explicit deny shows as an allow there.
 */
export async function startGateEnvoy(
  server: Pick<TestServer, 'folder' | 'socket' | 'gate'>,
  /** Further fields of its connection manager. */
  manager: YamlMap = {},
  /** Where it asks, and by TLS whom it takes for the gate; without, at the first listener. */
  hop: { readonly address?: string; readonly gateId?: string } = {},
): Promise<GateEnvoy> {
  const address = await freeLoopbackAddress();
  const [adminPort = 0, port = 0, strictPort = 0] = await freePorts(address, 3);
  const envoy = await startEnvoy({
    name: 'gate',
    dir: server.folder,
    bootstrap: {
      node: { id: 'gate', cluster: 'gate' },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: {
        listeners: [
          listener('in', { address, port_value: port }, manager),
          listener('strict', { address, port_value: strictPort }, manager),
        ],
        clusters: [
          cluster('svidgate', { pipe: { path: server.socket.replace('unix:', '') } }),
          { ...cluster('gate', endpointOf(hop.address ?? server.gate)), ...upstreamTls(hop.gateId) },
        ],
      },
    },
  });
  const count = async (name: string): Promise<number> => (await envoy.stat(`http.in.ext_authz.${name}`)) ?? 0;
  return {
    envoy,
    address,
    port,
    strictPort,
    counts: async () => ({ ok: await count('ok'), denied: await count('denied'), error: await count('error') }),
    [Symbol.asyncDispose]: () => envoy.stop(),
  };
}

function endpointOf(gate: string): YamlMap {
  if (gate.startsWith('unix:')) return { pipe: { path: gate.slice('unix:'.length) } };
  const [address = '', port = ''] = gate.split(':');
  return { socket_address: { address, port_value: Number(port) } };
}

function cluster(name: string, endpoint: YamlMap): YamlMap {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: endpoint } }] }] },
  };
}

function listener(name: 'in' | 'strict', socketAddress: YamlMap, manager: YamlMap): YamlMap {
  return {
    name,
    address: { socket_address: socketAddress },
    filter_chains: [
      {
        transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: downstreamTls() },
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: { ...connectionManager(name), ...manager },
          },
        ],
      },
    ],
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
const OWN_SVID: YamlMap = { name: 'spiffe://example.test/envoy', sds_config: FROM_SVIDGATE };

function upstreamTls(gateId: string | undefined): YamlMap {
  if (gateId === undefined) return {};
  const match = { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: gateId } }] };
  return {
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${TYPE}.transport_sockets.tls.v3.UpstreamTlsContext`,
        common_tls_context: {
          alpn_protocols: ['h2'],
          tls_certificate_sds_secret_configs: [OWN_SVID],
          combined_validation_context: {
            default_validation_context: match,
            validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: FROM_SVIDGATE },
          },
        },
      },
    },
  };
}

function downstreamTls(): YamlMap {
  return {
    '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
    common_tls_context: {
      tls_certificate_sds_secret_configs: [OWN_SVID],
      validation_context: { trust_chain_verification: 'ACCEPT_UNTRUSTED' },
    },
  };
}

function connectionManager(name: 'in' | 'strict'): YamlMap {
  return {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    normalize_path: true,
    max_request_headers_kb: 8192,
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }] },
      ],
    },
    http_filters: [
      {
        name: 'envoy.filters.http.ext_authz',
        typed_config: {
          '@type': `${TYPE}.filters.http.ext_authz.v3.ExtAuthz`,
          transport_api_version: 'V3',
          grpc_service: { envoy_grpc: { cluster_name: 'gate', authority: 'svidgate' }, timeout: '2s' },
          failure_mode_allow: name === 'in',
          include_peer_certificate: true,
          with_request_body: { max_request_bytes: 16_777_216 },
        },
      },
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` },
      },
    ],
  };
}
