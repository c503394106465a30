import { freeLoopbackAddress, freePorts } from './envoy-address.ts';
import type { YamlMap } from './envoy-bootstrap.ts';
import { startEnvoy, type Envoy } from './envoy.ts';

/** The server that Envoys stand beside: its folder, and its addresses as gRPC names them. */
export interface MeshServer {
  readonly folder: string;
  readonly socket: string;
  /** Without one, the gated port denies everything. */
  readonly gate?: string;
}

export interface OrdersEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  readonly address: string;
  /** Ports with mTLS, by who may shake hands. The first asks the gate about each request, too. */
  readonly ports: { readonly gated: number; readonly own: number; readonly all: number };
}

export interface WebEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  readonly address: string;
  /** Plain HTTP, sent on to the gated port over mTLS with the SVID of /web; by its protocol. */
  readonly ports: { readonly http1: number; readonly http2: number };
}

const TYPE = 'type.googleapis.com/envoy.extensions';
const FILTERS = `${TYPE}.filters`;

/** An Envoy as /orders: it answers by itself whom svidgate's validation context lets in. */
export async function startOrdersEnvoy(server: MeshServer, node: YamlMap = {}): Promise<OrdersEnvoy> {
  const address = await freeLoopbackAddress();
  const [adminPort = 0, gated = 0, own = 0, all = 0] = await freePorts(address, 4);
  const listeners = [
    mtlsListener('gated', { address, port_value: gated }, { context: 'ROOTCA', filters: [gateFilter()] }),
    mtlsListener('own', { address, port_value: own }, { context: 'ROOTCA', filters: [] }),
    mtlsListener('all', { address, port_value: all }, { context: 'ALL', filters: [] }),
  ];
  const envoy = await startEnvoy({
    name: 'orders',
    dir: server.folder,
    bootstrap: {
      node: { id: 'orders', cluster: 'orders', ...node },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: {
        // The SPIFFE validator alone keeps domains apart: a node that does without has no use for ALL.
        listeners: 'metadata' in node ? listeners.slice(0, 2) : listeners,
        clusters: svidgateClusters(server),
      },
    },
  });
  return { envoy, address, ports: { gated, own, all }, [Symbol.asyncDispose]: () => envoy.stop() };
}

/** How long a connection between the Envoys lasts: a fresh SVID is used on new ones only. */
export const MAX_CONNECTION_MS = 2000;
const BOUNDED = { common_http_protocol_options: { max_connection_duration: `${MAX_CONNECTION_MS / 1000}s` } };

/** An Envoy as /web, which calls orders. */
export async function startWebEnvoy(server: MeshServer, orders: OrdersEnvoy): Promise<WebEnvoy> {
  const address = await freeLoopbackAddress();
  const [adminPort = 0, http1 = 0, http2 = 0] = await freePorts(address, 3);
  const target = { address: orders.address, port_value: orders.ports.gated };
  const envoy = await startEnvoy({
    name: 'web',
    dir: server.folder,
    bootstrap: {
      node: { id: 'web', cluster: 'web' },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: {
        listeners: [
          plainListener('orders-http1', { address, port_value: http1 }),
          plainListener('orders-http2', { address, port_value: http2 }),
        ],
        clusters: [
          ...svidgateClusters(server),
          mtlsCluster('orders-http1', target, { http_protocol_options: {}, ...BOUNDED }),
          mtlsCluster('orders-http2', target, { http2_protocol_options: {}, ...BOUNDED }),
        ],
      },
    },
  });
  return { envoy, address, ports: { http1, http2 }, [Symbol.asyncDispose]: () => envoy.stop() };
}

function svidgateClusters({ socket, gate = 'unix:/dev/null' }: MeshServer): readonly YamlMap[] {
  return [
    cluster('svidgate', pipe(socket), { http2_protocol_options: {} }),
    cluster('gate', pipe(gate), { http2_protocol_options: {} }),
  ];
}

function pipe(address: string): YamlMap {
  return { pipe: { path: address.replace('unix:', '') } };
}

function cluster(name: string, endpoint: YamlMap, protocol: YamlMap): YamlMap {
  const { common_http_protocol_options: common = {}, ...explicit } = protocol;
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
        common_http_protocol_options: common,
        explicit_http_config: explicit,
      },
    },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: endpoint } }] }] },
  };
}

function mtlsCluster(name: string, target: YamlMap, protocol: YamlMap): YamlMap {
  const alpn = 'http2_protocol_options' in protocol ? 'h2' : 'http/1.1';
  const typedConfig = {
    '@type': `${TYPE}.transport_sockets.tls.v3.UpstreamTlsContext`,
    common_tls_context: { ...tlsContext('spiffe://example.test/web', 'ROOTCA'), alpn_protocols: [alpn] },
  };
  return {
    ...cluster(name, { socket_address: target }, protocol),
    transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: typedConfig },
  };
}

function tlsContext(svid: string, context: string): YamlMap {
  return {
    alpn_protocols: ['h2', 'http/1.1'],
    tls_certificate_sds_secret_configs: [{ name: svid, sds_config: fromSvidgate() }],
    validation_context_sds_secret_config: { name: context, sds_config: fromSvidgate() },
  };
}

function fromSvidgate(): YamlMap {
  return {
    resource_api_version: 'V3',
    initial_fetch_timeout: '0s',
    api_config_source: {
      api_type: 'GRPC',
      transport_api_version: 'V3',
      grpc_services: [
        {
          envoy_grpc: {
            cluster_name: 'svidgate',
            authority: 'svidgate',
            retry_policy: { retry_back_off: { base_interval: '0.1s', max_interval: '0.5s' } },
          },
        },
      ],
    },
  };
}

function mtlsListener(
  name: string,
  socketAddress: YamlMap,
  { context, filters }: { readonly context: string; readonly filters: readonly YamlMap[] },
): YamlMap {
  const typedConfig = {
    '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    // A resumed session would skip the check against today's trust bundle.
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
    common_tls_context: tlsContext('spiffe://example.test/orders', context),
  };
  return {
    name,
    address: { socket_address: socketAddress },
    filter_chains: [
      {
        transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: typedConfig },
        filters: [connectionManager(name, { direct_response: { status: 200 } }, filters)],
      },
    ],
  };
}

function plainListener(clusterName: string, socketAddress: YamlMap): YamlMap {
  return {
    name: clusterName,
    address: { socket_address: socketAddress },
    filter_chains: [{ filters: [connectionManager(clusterName, { route: { cluster: clusterName } }, [])] }],
  };
}

function connectionManager(name: string, action: YamlMap, filters: readonly YamlMap[]): YamlMap {
  const router = { name: 'envoy.filters.http.router', typed_config: { '@type': `${FILTERS}.http.router.v3.Router` } };
  const routes = [{ match: { prefix: '/' }, ...action }];
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${FILTERS}.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes }] },
      http_filters: [...filters, router],
    },
  };
}

function gateFilter(): YamlMap {
  return {
    name: 'envoy.filters.http.ext_authz',
    typed_config: {
      '@type': `${FILTERS}.http.ext_authz.v3.ExtAuthz`,
      transport_api_version: 'V3',
      grpc_service: { envoy_grpc: { cluster_name: 'gate', authority: 'svidgate' }, timeout: '2s' },
      include_peer_certificate: true,
      validate_mutations: true,
    },
  };
}
