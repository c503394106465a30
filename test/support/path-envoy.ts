import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { freeLoopbackAddress, freePorts } from './envoy-address.ts';
import type { YamlMap } from './envoy-bootstrap.ts';
import { startEnvoy } from './envoy.ts';
import type { EnvoyVersion } from './envoy-versions.ts';
import { tempFolder } from './temp-folder.ts';

/** What Envoy made of a request target. */
export type Forwarded =
  /** The service got the request with this target. */
  | { readonly kind: 'forwarded'; readonly target: string }
  /** Envoy answered by itself. */
  | { readonly kind: 'answered'; readonly status: number; readonly location?: string };

/** A real Envoy with a listener for each way to treat paths, in front of a service that tells the target it was asked for. */
export interface PathEnvoy extends AsyncDisposable {
  send(listener: string, target: string): Promise<Forwarded>;
}

const TYPE = 'type.googleapis.com/envoy.extensions';

/** @param managers by name of a listener: fields of its connection manager */
export async function startPathEnvoy(
  version: EnvoyVersion,
  managers: Readonly<Record<string, YamlMap>>,
): Promise<PathEnvoy> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempFolder());
  const address = await freeLoopbackAddress();
  const service = await startService(address);
  stack.defer(service.close);
  const names = Object.keys(managers);
  const [adminPort = 0, ...ports] = await freePorts(address, names.length + 1);
  const envoy = await startEnvoy({
    name: 'paths',
    dir: folder.path,
    ...(version.path === undefined ? {} : { executable: version.path }),
    bootstrap: {
      node: { id: 'paths', cluster: 'paths' },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: {
        listeners: names.map((name, index) =>
          listener(name, { address, port_value: ports[index] ?? 0 }, managers[name] ?? {}),
        ),
        clusters: [
          {
            name: 'service',
            type: 'STATIC',
            load_assignment: {
              cluster_name: 'service',
              endpoints: [
                {
                  lb_endpoints: [{ endpoint: { address: { socket_address: { address, port_value: service.port } } } }],
                },
              ],
            },
          },
        ],
      },
    },
  });
  stack.defer(() => envoy.stop());
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  stack.defer(() => agent.destroy());
  const all = stack.move();
  return {
    send: (name, target) => ask({ host: address, port: ports[names.indexOf(name)] ?? 0, agent, path: target }),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

async function startService(address: string): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const server = createServer((incoming, response) => {
    response.setHeader('x-target', Buffer.from(incoming.url ?? '', 'latin1').toString('base64'));
    response.end();
  });
  server.listen(0, address);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function ask(options: {
  readonly host: string;
  readonly port: number;
  readonly agent: Agent;
  readonly path: string;
}): Promise<Forwarded> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, timeout: 10_000 }, (response) => {
      const { 'x-target': seen, location } = response.headers;
      response.resume().on('end', () => {
        if (typeof seen === 'string') {
          resolve({ kind: 'forwarded', target: Buffer.from(seen, 'base64').toString('latin1') });
        } else {
          const status = response.statusCode ?? 0;
          resolve({ kind: 'answered', status, ...(location === undefined ? {} : { location }) });
        }
      });
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer')));
    sent.on('error', reject).end();
  });
}

function listener(name: string, socketAddress: YamlMap, manager: YamlMap): YamlMap {
  return {
    name,
    address: { socket_address: socketAddress },
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
              stat_prefix: name,
              ...manager,
              route_config: {
                virtual_hosts: [
                  { name: 'all', domains: ['*'], routes: [{ match: { prefix: '' }, route: { cluster: 'service' } }] },
                ],
              },
              http_filters: [
                {
                  name: 'envoy.filters.http.router',
                  typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` },
                },
              ],
            },
          },
        ],
      },
    ],
  };
}
