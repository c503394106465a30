import { freeLoopbackAddress, freePorts } from '../../test/support/envoy-address.ts';
import type { YamlMap } from '../../test/support/envoy-bootstrap.ts';
import { startEnvoy } from '../../test/support/envoy.ts';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { interleaved, median, medianRatio } from '../statistics.ts';
import type { Pace } from './direct.ts';
import type { LoadClient, LoadRound } from './load.ts';
import { LOAD_CORE, pin, type Peers } from './peers.ts';

/** By who decides: nobody, svidgate, or OPA. */
const LISTENERS = ['plain', 'svidgate', 'opa'] as const;
type Listener = (typeof LISTENERS)[number];

const CONNECTIONS = [1, 32] as const;

const TYPE = 'type.googleapis.com/envoy.extensions';

interface EnvoyOptions extends Pick<BenchmarkContext, 'progress'> {
  readonly peers: Peers;
  readonly client: LoadClient;
  readonly pace: Pace;
}

/** The policy `small` behind one Envoy with a listener for each. Envoy answers itself, and shares the load's processor. */
export async function envoyFigures({ peers, client, pace, progress }: EnvoyOptions): Promise<readonly Figure[]> {
  progress('starting Envoy');
  const address = await freeLoopbackAddress();
  const [adminPort = 0, ...ports] = await freePorts(address, LISTENERS.length + 1);
  const portOf = (listener: Listener): number => ports[LISTENERS.indexOf(listener)] ?? 0;
  const envoy = await startEnvoy({
    name: 'bench',
    dir: peers.folder,
    bootstrap: {
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: {
        listeners: LISTENERS.map((name) => listenerOf(name, { address, port_value: portOf(name) })),
        clusters: (['svidgate', 'opa'] as const).map((name) => clusterOf(name, peers[name].address)),
      },
    },
  });
  await using stop = new AsyncDisposableStack();
  stop.defer(() => envoy.stop());
  await pin(envoy.pid, LOAD_CORE);
  const request = 'GET /people/0000000/orders?page=1 HTTP/1.1\r\nhost: orders.bench.test\r\nx-user: user-1\r\n\r\n';
  const load = (listener: Listener, inFlight: number, forMs: number): Promise<LoadRound> => {
    const to = `${address}:${portOf(listener)}`;
    return client.round({ protocol: 'http', address: to, messages: [Buffer.from(request)], inFlight, forMs });
  };
  for (const listener of LISTENERS) await load(listener, 8, pace.warmUpMs / 2);
  const figures: Figure[] = [];
  for (const inFlight of CONNECTIONS) {
    progress(
      `${pace.rounds} rounds through Envoy on ${inFlight} connections, without the filter, svidgate and OPA in turn`,
    );
    const rounds = await interleaved(pace.rounds, {
      plain: () => load('plain', inFlight, pace.roundMs),
      svidgate: () => load('svidgate', inFlight, pace.roundMs),
      opa: () => load('opa', inFlight, pace.roundMs),
    });
    for (const listener of LISTENERS) figures.push(...figuresOf(listener, inFlight, rounds[listener]));
    const rates = (listener: Listener): readonly number[] => rounds[listener].map(({ perSecond }) => perSecond);
    figures.push({
      name: `envoy_vs_opa_at_${inFlight}`,
      value: medianRatio(rates('svidgate'), rates('opa')),
      meaning: 'requests with svidgate for each with OPA',
    });
  }
  return figures;
}

function figuresOf(listener: Listener, inFlight: number, rounds: readonly LoadRound[]): readonly Figure[] {
  const who = { plain: 'without the filter', svidgate: 'asking svidgate', opa: 'asking OPA' }[listener];
  const figure = (part: string, of: (round: LoadRound) => number, meaning: string): Figure => ({
    name: `envoy_${listener}_${part}_at_${inFlight}`,
    value: median(rounds.map(of)),
    meaning: `Envoy ${who}, ${inFlight} connections: ${meaning}`,
  });
  return [
    figure('per_second', (round) => round.perSecond, 'requests a second'),
    figure('p50_ms', (round) => round.p50Ms, 'median'),
    figure('p99_ms', (round) => round.p99Ms, '99th percentile'),
    figure('p999_ms', (round) => round.p999Ms, '99.9th percentile'),
  ];
}

function listenerOf(name: Listener, address: YamlMap): YamlMap {
  const filter = {
    name: 'envoy.filters.http.ext_authz',
    typed_config: {
      '@type': `${TYPE}.filters.http.ext_authz.v3.ExtAuthz`,
      transport_api_version: 'V3',
      grpc_service: { envoy_grpc: { cluster_name: name, authority: 'svidgate' }, timeout: '10s' },
    },
  };
  const router = { name: 'router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } };
  const answer = { match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'an order\n' } } };
  const manager = {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [answer] }] },
    http_filters: name === 'plain' ? [router] : [filter, router],
  };
  const filters = [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }];
  return { name, address: { socket_address: address }, filter_chains: [{ filters }] };
}

function clusterOf(name: string, address: string): YamlMap {
  const path = address.replace('unix:', '');
  const options = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    typed_extension_protocol_options: {
      [options]: { '@type': `type.googleapis.com/${options}`, explicit_http_config: { http2_protocol_options: {} } },
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
  };
}
