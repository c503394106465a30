import { OFFLOAD_NAMES } from '../../src/offload/index.ts';
import { freeLoopbackAddress, freePorts } from './envoy-address.ts';
import type { YamlMap } from './envoy-bootstrap.ts';
import { startEnvoy, type Envoy } from './envoy.ts';

export type RulesSource = 'GRPC' | 'DELTA_GRPC' | 'ADS';

export interface OffloadPort {
  readonly name: string;
  readonly policy: string;
  readonly source: RulesSource;
  /** PEM; plain HTTP without. Certificates of clients are required and verified. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
}

export interface OffloadEnvoyOptions {
  readonly name: string;
  readonly folder: string;
  /** `unix:PATH` of discovery. */
  readonly socket: string;
  readonly ports: readonly OffloadPort[];
  /** Variant of ADS, where a port uses it. */
  readonly ads?: 'GRPC' | 'DELTA_GRPC';
  readonly executable?: string;
  readonly node?: YamlMap;
}

export interface OffloadEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  at(port: string): { readonly address: string; readonly port: number };
  /** Whether a plain port lets a request through by itself; there is no gate behind any of them. */
  isOffloaded(port: string, path?: string): Promise<boolean>;
}

const TYPE = 'type.googleapis.com/envoy.extensions';
const ASKED = 503;

/** Ports that answer 200 to what Envoy's own rules allow, and 503 to all else: their gate is never there. */
export async function startOffloadEnvoy(options: OffloadEnvoyOptions): Promise<OffloadEnvoy> {
  const { name, folder, socket, executable, ads } = options;
  const address = await freeLoopbackAddress();
  const [adminPort = 0, ...numbers] = await freePorts(address, 1 + options.ports.length);
  const at = (portName: string): ReturnType<OffloadEnvoy['at']> => {
    const port = numbers[options.ports.findIndex((each) => each.name === portName)];
    if (port === undefined) throw new Error(`${name} has no port ${portName}`);
    return { address, port };
  };
  const bootstrap = {
    node: { id: name, cluster: name, ...options.node },
    admin: { address: { socket_address: { address, port_value: adminPort } } },
    ...(ads === undefined ? {} : { dynamic_resources: { ads_config: apiSource(ads) } }),
    static_resources: {
      listeners: options.ports.map((port) => listener(port, at(port.name))),
      clusters: [cluster('svidgate', socket.replace('unix:', '')), cluster('gate', `${folder}/no-gate.sock`)],
    },
  };
  const envoy = await startEnvoy({ name, dir: folder, bootstrap, ...(executable === undefined ? {} : { executable }) });
  return {
    envoy,
    at,
    async isOffloaded(portName, path = '/') {
      const to = at(portName);
      const { status } = await fetch(`http://${to.address}:${to.port}${path}`, { signal: AbortSignal.timeout(5000) });
      if (status !== 200 && status !== ASKED) throw new Error(`${portName} answers ${status}`);
      return status === 200;
    },
    [Symbol.asyncDispose]: () => envoy.stop(),
  };
}

function apiSource(type: 'GRPC' | 'DELTA_GRPC'): YamlMap {
  const retryPolicy = { retry_back_off: { base_interval: '0.1s', max_interval: '0.3s' } };
  return {
    api_type: type,
    transport_api_version: 'V3',
    set_node_on_first_message_only: true,
    grpc_services: [{ envoy_grpc: { cluster_name: 'svidgate', authority: 'svidgate', retry_policy: retryPolicy } }],
  };
}

function cluster(name: string, path: string): YamlMap {
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
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
  };
}

function listener(port: OffloadPort, { address, port: number }: ReturnType<OffloadEnvoy['at']>): YamlMap {
  const { name, policy, source, tls } = port;
  const socket = tls === undefined ? {} : { transport_socket: tlsSocket(tls) };
  const manager = {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    normalize_path: true,
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }] },
      ],
    },
    http_filters: [
      rulesFilter(policy, source),
      askFilter(policy),
      { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } },
    ],
  };
  return {
    name,
    address: { socket_address: { address, port_value: number } },
    filter_chains: [
      { ...socket, filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] },
    ],
  };
}

function rulesFilter(policy: string, source: RulesSource): YamlMap {
  const from = source === 'ADS' ? { ads: {} } : { api_config_source: apiSource(source) };
  return {
    name: OFFLOAD_NAMES.resource(policy),
    config_discovery: {
      config_source: { resource_api_version: 'V3', ...from },
      type_urls: [`${TYPE}.filters.http.rbac.v3.RBAC`],
      default_config: { '@type': `${TYPE}.filters.http.rbac.v3.RBAC` },
      apply_default_config_without_warming: true,
    },
  };
}

function askFilter(policy: string): YamlMap {
  return {
    name: 'envoy.filters.http.ext_authz',
    typed_config: {
      '@type': `${TYPE}.filters.http.ext_authz.v3.ExtAuthz`,
      transport_api_version: 'V3',
      grpc_service: { envoy_grpc: { cluster_name: 'gate', authority: 'svidgate' }, timeout: '1s' },
      status_on_error: { code: ASKED },
      filter_enabled_metadata: {
        filter: OFFLOAD_NAMES.metadataNamespace,
        path: [{ key: OFFLOAD_NAMES.resultKey(policy) }],
        value: { string_match: { exact: 'allowed' } },
        invert: true,
      },
    },
  };
}

function tlsSocket({ cert, key, ca }: NonNullable<OffloadPort['tls']>): YamlMap {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
      require_client_certificate: true,
      common_tls_context: {
        tls_certificates: [{ certificate_chain: { inline_string: cert }, private_key: { inline_string: key } }],
        validation_context: { trusted_ca: { inline_string: ca } },
      },
    },
  };
}
