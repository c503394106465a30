import { OFFLOAD_NAMES } from '../../src/offload/index.ts';
import { freeLoopbackAddress, freePorts } from './envoy-address.ts';
import type { YamlMap } from './envoy-bootstrap.ts';
import { startEnvoy, type Envoy } from './envoy.ts';

export interface OffloadedMeshOptions {
  readonly name: string;
  /** Where its files go. */
  readonly folder: string;
  /** `unix:PATH` of discovery and SDS. */
  readonly socket: string;
  /** `unix:PATH` of the gate. */
  readonly gate: string;
  /** Default: `default`. */
  readonly policy?: string;
  /** Whose SVID it shows. */
  readonly svid: string;
  /** Default: `ROOTCA`. */
  readonly context?: string;
  readonly api?: 'GRPC' | 'DELTA_GRPC';
  /** What its filter takes, where that is not what it is sent. */
  readonly takes?: string;
  readonly executable?: string;
  /** Further fields of its connection managers, and of its bootstrap. */
  readonly manager?: YamlMap;
  readonly bootstrap?: YamlMap;
}

/** A real Envoy with mTLS by svidgate, and its rules before its gate. */
export interface OffloadedMesh extends AsyncDisposable {
  readonly envoy: Envoy;
  /** Its gate is asked where the rules allow nothing. */
  readonly gated: { readonly address: string; readonly port: number };
  /** Its gate is never there: 200 by the rules, and 503 by all else. */
  readonly alone: { readonly address: string; readonly port: number };
  /** How often the gate of `gated` was asked. */
  asked(): Promise<number>;
}

/** What `alone` answers where the rules do not allow. */
export const NOT_OFFLOADED = 503;

const TYPE = 'type.googleapis.com/envoy.extensions';
const RBAC = `${TYPE}.filters.http.rbac.v3.RBAC`;

export async function startOffloadedMesh(options: OffloadedMeshOptions): Promise<OffloadedMesh> {
  const { name, folder, socket, gate, executable } = options;
  const address = await freeLoopbackAddress();
  const [adminPort = 0, gated = 0, alone = 0] = await freePorts(address, 3);
  const envoy = await startEnvoy({
    name,
    dir: folder,
    ...(executable === undefined ? {} : { executable }),
    bootstrap: {
      ...options.bootstrap,
      node: { id: name, cluster: name },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      // That a certificate has one URI SAN alone takes long regular expressions.
      layered_runtime: { layers: [{ name: 're2', static_layer: { 're2.max_program_size.error_level': 1_000_000 } }] },
      static_resources: {
        listeners: [
          listener('gated', { address, port_value: gated }, options),
          listener('alone', { address, port_value: alone }, options),
        ],
        clusters: [cluster('svidgate', socket), cluster('gate-gated', gate), cluster('gate-alone', 'unix:/nowhere')],
      },
    },
  });
  return {
    envoy,
    gated: { address, port: gated },
    alone: { address, port: alone },
    async asked() {
      const counts = ['ok', 'denied', 'error'].map((each) => envoy.stat(`http.gated.ext_authz.${each}`));
      return (await Promise.all(counts)).reduce<number>((sum, count) => sum + (count ?? 0), 0);
    },
    [Symbol.asyncDispose]: () => envoy.stop(),
  };
}

function listener(name: 'gated' | 'alone', socketAddress: YamlMap, options: OffloadedMeshOptions): YamlMap {
  return {
    name,
    address: { socket_address: socketAddress },
    filter_chains: [
      {
        transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: downstreamTls(options) },
        filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager(name, options) }],
      },
    ],
  };
}

function manager(name: 'gated' | 'alone', options: OffloadedMeshOptions): YamlMap {
  return {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    normalize_path: true,
    common_http_protocol_options: { max_connection_duration: '300s' },
    ...options.manager,
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }] },
      ],
    },
    http_filters: [
      rulesFilter(options),
      gateFilter(name, options.policy ?? 'default'),
      { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } },
    ],
  };
}

function rulesFilter({ policy = 'default', api = 'GRPC', takes = RBAC }: OffloadedMeshOptions): YamlMap {
  return {
    name: OFFLOAD_NAMES.resource(policy),
    config_discovery: {
      config_source: { resource_api_version: 'V3', api_config_source: apiSource(api) },
      type_urls: [takes],
      ...(takes === RBAC ? { default_config: { '@type': RBAC } } : { default_config: { '@type': takes } }),
      apply_default_config_without_warming: true,
    },
  };
}

function gateFilter(name: 'gated' | 'alone', policy: string): YamlMap {
  return {
    name: 'envoy.filters.http.ext_authz',
    typed_config: {
      '@type': `${TYPE}.filters.http.ext_authz.v3.ExtAuthz`,
      transport_api_version: 'V3',
      grpc_service: { envoy_grpc: { cluster_name: `gate-${name}`, authority: 'svidgate' }, timeout: '5s' },
      include_peer_certificate: true,
      status_on_error: { code: NOT_OFFLOADED },
      filter_enabled_metadata: {
        filter: OFFLOAD_NAMES.metadataNamespace,
        path: [{ key: OFFLOAD_NAMES.resultKey(policy) }],
        value: { string_match: { exact: 'allowed' } },
        invert: true,
      },
    },
  };
}

function downstreamTls({ svid, context = 'ROOTCA' }: OffloadedMeshOptions): YamlMap {
  const from = { resource_api_version: 'V3', initial_fetch_timeout: '0s', api_config_source: apiSource('GRPC') };
  return {
    '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    // A resumed session would skip the check against today's trust bundle.
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
    common_tls_context: {
      alpn_protocols: ['h2', 'http/1.1'],
      tls_certificate_sds_secret_configs: [{ name: svid, sds_config: from }],
      validation_context_sds_secret_config: { name: context, sds_config: from },
    },
  };
}

function apiSource(type: 'GRPC' | 'DELTA_GRPC'): YamlMap {
  const retryPolicy = { retry_back_off: { base_interval: '0.1s', max_interval: '0.3s' } };
  return {
    api_type: type,
    transport_api_version: 'V3',
    grpc_services: [{ envoy_grpc: { cluster_name: 'svidgate', authority: 'svidgate', retry_policy: retryPolicy } }],
  };
}

function cluster(name: string, address: string): YamlMap {
  const endpoint = { pipe: { path: address.replace('unix:', '') } };
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
