import { freeLoopbackAddress, freePorts } from '../support/envoy-address.ts';
import type { YamlMap } from '../support/envoy-bootstrap.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';

export interface SoakEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  readonly address: string;
  /** `mtls` wants a certificate of a client, `plain` is for anybody. Both ask the gate about each request. */
  readonly ports: { readonly mtls: number; readonly plain: number };
}

/** The largest body that is looked at. */
export const MAX_BODY_BYTES = 8192;

/** Longer than any decision takes on a busy machine: a soak is not about deadlines. */
const TIMEOUT = '10s';

const TYPE = 'type.googleapis.com/envoy.extensions';
const EXT_AUTHZ = 'envoy.filters.http.ext_authz';

/** By the first segment of the path: the name of the policy that is asked. */
const ROUTES = { '/second': 'second', '/unheard': 'unheard' };

export async function startSoakEnvoy(folder: string): Promise<SoakEnvoy> {
  const address = await freeLoopbackAddress();
  const [adminPort = 0, mtls = 0, plain = 0] = await freePorts(address, 3);
  const envoy = await startEnvoy({
    name: 'soak',
    dir: folder,
    bootstrap: {
      node: { id: 'soak', cluster: 'soak' },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: {
        listeners: [listener('mtls', { address, port_value: mtls }), listener('plain', { address, port_value: plain })],
        clusters: [cluster('svidgate', `${folder}/api.sock`), cluster('gate', `${folder}/authz.sock`)],
      },
    },
  });
  return { envoy, address, ports: { mtls, plain }, [Symbol.asyncDispose]: () => envoy.stop() };
}

function cluster(name: string, path: string): YamlMap {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '2s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
  };
}

function listener(name: 'mtls' | 'plain', socketAddress: YamlMap): YamlMap {
  const transport =
    name === 'plain'
      ? {}
      : { transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: downstreamTls() } };
  return {
    name,
    address: { socket_address: socketAddress },
    filter_chains: [
      {
        ...transport,
        filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: connectionManager(name) }],
      },
    ],
  };
}

function downstreamTls(): YamlMap {
  const sdsConfig: YamlMap = {
    resource_api_version: 'V3',
    initial_fetch_timeout: '0s',
    api_config_source: {
      api_type: 'GRPC',
      transport_api_version: 'V3',
      grpc_services: [{ envoy_grpc: { cluster_name: 'svidgate', authority: 'svidgate' } }],
    },
  };
  return {
    '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
    common_tls_context: {
      alpn_protocols: ['http/1.1'],
      tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: sdsConfig }],
      validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: sdsConfig },
    },
  };
}

function connectionManager(name: string): YamlMap {
  const answer: YamlMap = { direct_response: { status: 200 } };
  const asking = (policy: string): YamlMap => ({
    [EXT_AUTHZ]: {
      '@type': `${TYPE}.filters.http.ext_authz.v3.ExtAuthzPerRoute`,
      check_settings: { context_extensions: { 'svidgate.policy': policy } },
    },
  });
  const routes: YamlMap[] = Object.entries(ROUTES).map(([prefix, policy]) => ({
    match: { prefix },
    ...answer,
    typed_per_filter_config: asking(policy),
  }));
  return {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    normalize_path: true,
    route_config: {
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: [...routes, { match: { prefix: '/' }, ...answer }] }],
    },
    http_filters: [
      {
        name: EXT_AUTHZ,
        typed_config: {
          '@type': `${TYPE}.filters.http.ext_authz.v3.ExtAuthz`,
          transport_api_version: 'V3',
          grpc_service: { envoy_grpc: { cluster_name: 'gate', authority: 'svidgate' }, timeout: TIMEOUT },
          failure_mode_allow: false,
          include_peer_certificate: true,
          validate_mutations: true,
          with_request_body: { max_request_bytes: MAX_BODY_BYTES },
        },
      },
      { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } },
    ],
  };
}
