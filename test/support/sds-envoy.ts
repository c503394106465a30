import { freeLoopbackAddress, freePorts } from './envoy-address.ts';
import type { YamlMap } from './envoy-bootstrap.ts';
import { launchEnvoy, startEnvoy, type Envoy } from './envoy.ts';

export interface SdsEnvoyOptions {
  readonly name: string;
  /** Where files go, and `unix:PATH` of SDS. */
  readonly server: { readonly folder: string; readonly socket: string };
  /** By default state of the world. */
  readonly protocol?: SdsProtocol;
  /** By default a link of its own to the newest Envoy. */
  readonly executable?: string;
  /** How long a port waits for its secrets before it opens without them, by default for ever. */
  readonly initialFetchTimeout?: string;
  /** Ports that take mTLS and answer 200 by themselves. */
  readonly inward?: readonly InwardPort[];
  /** Ports that take plain HTTP and pass it on over mTLS. */
  readonly outward?: readonly OutwardPort[];
}

export type SdsProtocol = 'GRPC' | 'DELTA_GRPC';

/** Both, as names of tests call them. */
export const SDS_PROTOCOLS: readonly { readonly protocol: SdsProtocol; readonly title: string }[] = [
  { protocol: 'GRPC', title: 'state of the world' },
  { protocol: 'DELTA_GRPC', title: 'delta' },
];

/** Resource names of a port. */
interface PortSecrets {
  readonly name: string;
  readonly svid: string;
  readonly context: string;
}

export type InwardPort = PortSecrets;

export interface OutwardPort extends PortSecrets {
  readonly target: PortAddress;
  /** How many requests go over one connection to the target, by default any number. */
  readonly requestsPerConnection?: number;
}

export interface PortAddress {
  readonly address: string;
  readonly port: number;
}

export interface SdsEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  /** Where a port listens, by its name. */
  at(name: string): PortAddress;
  /** How often a port's TLS settings were made anew from what SDS sent, all ports together; the first time counts, too. */
  tlsUpdates(): Promise<number>;
  /** The serials in use, as svidgate writes them. */
  serials(): Promise<readonly string[]>;
  /** A counter of the subscriptions to one resource name, such as `update_rejected`, all of them together. */
  sdsStat(resourceName: string, counter: string): Promise<number>;
}

const TYPE = 'type.googleapis.com/envoy.extensions';
const FILTERS = `${TYPE}.filters`;

/** An Envoy with its secrets from SDS, when it is ready: when all its ports have their secrets. */
export async function startSdsEnvoy(options: SdsEnvoyOptions): Promise<SdsEnvoy> {
  const { bootstrap, at } = await placed(options);
  return sdsEnvoy(await startEnvoy({ ...launchOptions(options), bootstrap }), at);
}

/** As `startSdsEnvoy`, and waits for nothing. */
export async function launchSdsEnvoy(options: SdsEnvoyOptions): Promise<SdsEnvoy> {
  const { bootstrap, at } = await placed(options);
  return sdsEnvoy(await launchEnvoy({ ...launchOptions(options), bootstrap }), at);
}

function launchOptions({ name, server, executable }: SdsEnvoyOptions) {
  return { name, dir: server.folder, ...(executable === undefined ? {} : { executable }) };
}

function sdsEnvoy(envoy: Envoy, at: SdsEnvoy['at']): SdsEnvoy {
  const sumOf = async (isMeant: (name: string) => boolean): Promise<number> => {
    const { stats } = JSON.parse(await envoy.admin('/stats?format=json')) as {
      readonly stats: readonly { readonly name?: string; readonly value?: number }[];
    };
    return stats.reduce((sum, { name = '', value = 0 }) => (isMeant(name) ? sum + value : sum), 0);
  };
  return {
    envoy,
    at,
    tlsUpdates: () => sumOf((name) => name.endsWith('.ssl_context_update_by_sds')),
    serials: async () => (await envoy.certs()).map(({ serial }) => serial.replace(/^0+/, '')),
    sdsStat: (resourceName, counter) => sumOf((name) => name === `sds.${resourceName.replaceAll(':', '_')}.${counter}`),
    [Symbol.asyncDispose]: () => envoy.stop(),
  };
}

async function placed(options: SdsEnvoyOptions): Promise<{ readonly bootstrap: YamlMap; readonly at: SdsEnvoy['at'] }> {
  const { name, inward = [], outward = [], server } = options;
  const address = await freeLoopbackAddress();
  const names = [...inward, ...outward].map((port) => port.name);
  const [adminPort = 0, ...ports] = await freePorts(address, 1 + names.length);
  const at = (portName: string): PortAddress => {
    const port = ports[names.indexOf(portName)];
    if (port === undefined) throw new Error(`${name} has no port ${portName}`);
    return { address, port };
  };
  const svidgate = { pipe: { path: server.socket.replace('unix:', '') } };
  const bootstrap = {
    node: { id: name, cluster: name },
    admin: { address: socketAddress({ address, port: adminPort }) },
    static_resources: {
      listeners: [
        ...inward.map((port) => listener(port.name, at(port.name), inwardChain(port, options))),
        ...outward.map((port) => listener(port.name, at(port.name), outwardChain(port))),
      ],
      clusters: [
        cluster('svidgate', svidgate, protocolOptions({ http2_protocol_options: {} })),
        ...outward.map((port) => outwardCluster(port, options)),
      ],
    },
  };
  return { bootstrap, at };
}

function socketAddress({ address, port }: PortAddress): YamlMap {
  return { socket_address: { address, port_value: port } };
}

function listener(name: string, address: PortAddress, chain: YamlMap): YamlMap {
  return { name, address: socketAddress(address), filter_chains: [chain] };
}

function inwardChain(port: InwardPort, options: SdsEnvoyOptions): YamlMap {
  const typedConfig = {
    '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    // A resumed session would skip the check against today's trust bundle.
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
    common_tls_context: tlsContext(port, options),
  };
  return {
    transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: typedConfig },
    filters: [connectionManager(port.name, { direct_response: { status: 200 } })],
  };
}

function outwardChain({ name }: OutwardPort): YamlMap {
  return { filters: [connectionManager(name, { route: { cluster: name } })] };
}

function outwardCluster(port: OutwardPort, options: SdsEnvoyOptions): YamlMap {
  const { name, target, requestsPerConnection } = port;
  const typedConfig = {
    '@type': `${TYPE}.transport_sockets.tls.v3.UpstreamTlsContext`,
    max_session_keys: 0,
    common_tls_context: tlsContext(port, options),
  };
  const common = requestsPerConnection === undefined ? {} : { max_requests_per_connection: requestsPerConnection };
  return {
    ...cluster(name, socketAddress(target), protocolOptions({ http_protocol_options: {} }, common)),
    transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: typedConfig },
  };
}

function tlsContext({ svid, context }: PortSecrets, options: SdsEnvoyOptions): YamlMap {
  return {
    tls_certificate_sds_secret_configs: [{ name: svid, sds_config: fromSvidgate(options) }],
    validation_context_sds_secret_config: { name: context, sds_config: fromSvidgate(options) },
  };
}

function fromSvidgate({ protocol = 'GRPC', initialFetchTimeout = '0s' }: SdsEnvoyOptions): YamlMap {
  const retryPolicy = { retry_back_off: { base_interval: '0.1s', max_interval: '0.5s' } };
  return {
    resource_api_version: 'V3',
    initial_fetch_timeout: initialFetchTimeout,
    api_config_source: {
      api_type: protocol,
      transport_api_version: 'V3',
      set_node_on_first_message_only: true,
      grpc_services: [{ envoy_grpc: { cluster_name: 'svidgate', authority: 'svidgate', retry_policy: retryPolicy } }],
    },
  };
}

function cluster(name: string, endpoint: YamlMap, options: YamlMap): YamlMap {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '5s',
    typed_extension_protocol_options: options,
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: endpoint } }] }] },
  };
}

function protocolOptions(explicit: YamlMap, common: YamlMap = {}): YamlMap {
  return {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
      common_http_protocol_options: common,
      explicit_http_config: explicit,
    },
  };
}

function connectionManager(name: string, action: YamlMap): YamlMap {
  const router = { name: 'envoy.filters.http.router', typed_config: { '@type': `${FILTERS}.http.router.v3.Router` } };
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${FILTERS}.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      route_config: {
        virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, ...action }] }],
      },
      http_filters: [router],
    },
  };
}
