import { join } from 'node:path';
import { freeLoopbackAddress, freePorts } from '../../test/support/envoy-address.ts';
import {
  documentedPorts,
  readYaml,
  relocate,
  type YamlMap,
  type YamlValue,
} from '../../test/support/envoy-bootstrap.ts';
import { startEnvoy } from '../../test/support/envoy.ts';
import { root } from '../../tools/setup/paths.mjs';

/** By who decides: nobody, svidgate, or the echo that allows everything. */
export const LISTENERS = ['none', 'svidgate', 'echo'] as const;
type Listener = (typeof LISTENERS)[number];

export interface BenchEnvoy extends AsyncDisposable {
  readonly address: string;
  readonly ports: Readonly<Record<Listener, number>>;
}

const EXT_AUTHZ = 'envoy.filters.http.ext_authz';
const BODY = 'an order\n';

/**
 * The sidecar of the example mesh with three copies of its inbound listener that differ in the ext_authz filter alone.
 * Its sockets are those in `folder`/run: api.sock, authz.sock, echo.sock.
 */
export async function startBenchEnvoy(folder: string): Promise<BenchEnvoy> {
  const original = readYaml(join(root, 'envoy-examples/sidecar-mesh/orders.yaml'));
  const documented = documentedPorts(original);
  const address = await freeLoopbackAddress();
  const free = await freePorts(address, documented.length + LISTENERS.length);
  const ports = new Map(documented.map((port, index) => [port, free[index]!]));
  const own = Object.fromEntries(LISTENERS.map((name, index) => [name, free[documented.length + index]!])) as Record<
    Listener,
    number
  >;
  const bootstrap = withListeners(relocate(original, { address, ports, dir: folder }), own);
  const envoy = await startEnvoy({ name: 'bench', bootstrap, dir: folder });
  return { address, ports: own, [Symbol.asyncDispose]: () => envoy.stop() };
}

/** The parts of a bootstrap that are changed. */
interface Bootstrap extends Record<string, unknown> {
  static_resources: { listeners: ListenerConfig[]; clusters: ({ name: string } & Record<string, unknown>)[] };
}

interface ListenerConfig {
  name: string;
  address: { socket_address: { port_value: number } };
  filter_chains: { filters: { typed_config: ConnectionManager }[] }[];
}

interface ConnectionManager {
  common_http_protocol_options: { idle_timeout: string };
  route_config: { virtual_hosts: { typed_per_filter_config?: unknown; routes: YamlValue[] }[] };
  http_filters: { name: string; typed_config: { grpc_service?: { envoy_grpc: { cluster_name: string } } } }[];
}

function withListeners(bootstrap: YamlMap, ports: Readonly<Record<Listener, number>>): YamlMap {
  const copy = structuredClone(bootstrap) as unknown as Bootstrap;
  const { listeners, clusters } = copy.static_resources;
  const [inbound] = listeners;
  const gate = clusters.find(({ name }) => name === 'svidgate_authz');
  if (inbound === undefined || gate === undefined)
    throw new Error('the example has no listener or no cluster of the gate');
  const echo = JSON.parse(
    JSON.stringify(gate).replaceAll('svidgate_authz', 'echo_authz').replaceAll('authz.sock', 'echo.sock'),
  ) as typeof gate;
  clusters.push(echo);
  copy.static_resources.listeners = LISTENERS.map((name) => listenerFor(name, inbound, ports[name]));
  return copy as unknown as YamlMap;
}

function listenerFor(name: Listener, original: ListenerConfig, port: number): ListenerConfig {
  const listener = structuredClone(original);
  listener.name = name;
  listener.address.socket_address.port_value = port;
  for (const { typed_config: manager } of listener.filter_chains.flatMap((chain) => chain.filters)) {
    // Some connections wait for their turn for minutes.
    manager.common_http_protocol_options.idle_timeout = '900s';
    for (const host of manager.route_config.virtual_hosts) {
      host.routes = [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: BODY } } }];
      if (name === 'none') delete host.typed_per_filter_config;
    }
    if (name === 'none') manager.http_filters = manager.http_filters.filter((filter) => filter.name !== EXT_AUTHZ);
    const service = manager.http_filters.find((filter) => filter.name === EXT_AUTHZ)?.typed_config.grpc_service;
    if (name === 'echo' && service !== undefined) service.envoy_grpc.cluster_name = 'echo_authz';
  }
  return listener;
}
