import { join } from 'node:path';
import { freeLoopbackAddress, freePorts } from '../../test/support/envoy-address.ts';
import { documentedPorts, readYaml, relocate, type YamlMap } from '../../test/support/envoy-bootstrap.ts';
import { startEnvoy, type Envoy } from '../../test/support/envoy.ts';
import { root } from '../../tools/setup/paths.mjs';
import { PEERS, type Row } from './policy.ts';

/** By who decides: nobody, Envoy by rules written by hand, Envoy by rules of svidgate, the gate, OPA. */
export const LISTENERS = ['plain', 'native', 'offloaded', 'call', 'opa'] as const;
export type Listener = (typeof LISTENERS)[number];

export interface OffloadEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  /** HOST:PORT */
  at(listener: Listener): string;
}

const TYPE = 'type.googleapis.com/envoy.extensions';
const RULES = 'svidgate.offload.default';
const EXT_AUTHZ = 'envoy.filters.http.ext_authz';

/** The parts of the example that are changed. */
interface Bootstrap extends Record<string, unknown> {
  static_resources: { listeners: ListenerConfig[]; clusters: ({ name: string } & Record<string, unknown>)[] };
}

interface ListenerConfig {
  name: string;
  address: { socket_address: { port_value: number } };
  filter_chains: { filters: { typed_config: ConnectionManager }[] }[];
}

interface ConnectionManager {
  stat_prefix: string;
  common_http_protocol_options: Record<string, unknown>;
  access_log: { filter?: unknown }[];
  http_filters: Filter[];
}

interface Filter {
  name: string;
  typed_config: Record<string, unknown>;
}

/**
 * The Envoy of envoy-examples/offload with copies of its listener that differ in who decides. All have the access log to
 * svidgate: that of `offloaded` and `call` as in the example, of what Envoy answered by itself, the others of everything.
 */
export async function startOffloadEnvoy(
  folder: string,
  options: { readonly opaSocket: string; readonly rows: readonly Row[] },
): Promise<OffloadEnvoy> {
  const original = readYaml(join(root, 'envoy-examples/offload/shop.yaml'));
  const documented = documentedPorts(original);
  const address = await freeLoopbackAddress();
  const free = await freePorts(address, documented.length + LISTENERS.length);
  const ports = new Map(documented.map((port, index) => [port, free[index] ?? 0]));
  const portOf = (listener: Listener): number => free[documented.length + LISTENERS.indexOf(listener)] ?? 0;
  const copy = structuredClone(relocate(original, { address, ports, dir: folder })) as unknown as Bootstrap;
  const { listeners, clusters } = copy.static_resources;
  const [listener] = listeners;
  const gate = clusters.find(({ name }) => name === 'svidgate_authz');
  if (listener === undefined || gate === undefined) throw new Error('the example has no listener or no cluster');
  clusters.push({ ...gate, name: 'opa', load_assignment: assignment('opa', options.opaSocket) });
  copy.static_resources.listeners = LISTENERS.map((name) => ({
    ...variant(name, listener, options.rows),
    address: { socket_address: { ...listener.address.socket_address, port_value: portOf(name) } },
  }));
  const envoy = await startEnvoy({ name: 'shop', bootstrap: copy as unknown as YamlMap, dir: folder });
  return { envoy, at: (name) => `${address}:${portOf(name)}`, [Symbol.asyncDispose]: () => envoy.stop() };
}

function variant(name: Listener, original: ListenerConfig, rows: readonly Row[]): ListenerConfig {
  const listener = structuredClone(original);
  listener.name = name;
  for (const { typed_config: manager } of listener.filter_chains.flatMap((chain) => chain.filters)) {
    manager.stat_prefix = name;
    // Connections wait for their turn.
    manager.common_http_protocol_options = { idle_timeout: '900s' };
    if (name !== 'offloaded' && name !== 'call') for (const log of manager.access_log) delete log.filter;
    manager.http_filters = filtersOf(name, manager.http_filters, rows);
  }
  return listener;
}

function filtersOf(name: Listener, filters: readonly Filter[], rows: readonly Row[]): Filter[] {
  const find = (wanted: string): Filter => {
    const found = filters.find((filter) => filter.name === wanted);
    if (found === undefined) throw new Error(`the example has no filter ${wanted}`);
    return structuredClone(found);
  };
  const router = find('envoy.filters.http.router');
  const ask = find(EXT_AUTHZ);
  switch (name) {
    case 'plain':
      return [router];
    case 'native':
      return [native(rows), router];
    case 'offloaded':
      return [find(RULES), ask, router];
    case 'call':
    case 'opa':
      delete ask.typed_config['filter_enabled_metadata'];
      if (name === 'opa') {
        ask.typed_config['grpc_service'] = {
          envoy_grpc: { cluster_name: 'opa', authority: 'svidgate' },
          timeout: '2s',
        };
      }
      return [ask, router];
  }
}

/** What somebody would write for the same table. Envoy tries policies in the order of their names: as the rows, last ours. */
function native(rows: readonly Row[]): Filter {
  const policies = rows.map(({ from, methods, service }, index): readonly [string, unknown] => [
    `row-${String(index + 1).padStart(String(rows.length).length, '0')}`,
    {
      permissions: [
        {
          and_rules: {
            rules: [
              {
                or_rules: {
                  rules: methods.map((method) => ({ header: { name: ':method', string_match: { exact: method } } })),
                },
              },
              { url_path: { path: { prefix: `/${service}/` } } },
            ],
          },
        },
      ],
      principals: from.map((id) => ({ authenticated: { principal_name: { exact: id } } })),
    },
  ]);
  return {
    name: 'envoy.filters.http.rbac',
    typed_config: {
      '@type': `${TYPE}.filters.http.rbac.v3.RBAC`,
      rules: { action: 'ALLOW', policies: Object.fromEntries(policies) },
    },
  };
}

function assignment(name: string, path: string): YamlMap {
  return {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
  };
}

/** What is asked: the last row is about it. */
export function requestOf(rows: readonly Row[]): Buffer {
  const service = rows.at(-1)?.service ?? '';
  const host = `shop.${PEERS.trustDomain}`;
  return Buffer.from(`GET /${service}/0000000?page=1 HTTP/1.1\r\nhost: ${host}\r\nuser-agent: web/1.4\r\n\r\n`);
}
