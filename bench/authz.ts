import { join } from 'node:path';
import { AUTHORIZATION_SERVICE } from '../src/proto/index.ts';
import { connect } from '../test/support/grpc-client.ts';
import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import { createBenchServer } from './parts/bench-server.ts';
import { checkRequests, isAllowed } from './parts/check-requests.ts';
import type { CheckJobs } from './parts/check-worker.ts';
import type { EchoJobs } from './parts/echo-worker.ts';
import { LISTENERS, startBenchEnvoy } from './parts/bench-envoy.ts';
import type { HttpJobs } from './parts/http-worker.ts';
import { fetchPeerIdentity, type ClientIdentity } from './parts/identity.ts';
import { medianLatencyMs, medianPerSecond, type Round } from './parts/measure.ts';
import { startWorker } from './parts/worker.ts';
import { interleaved, medianRatio } from './statistics.ts';

const SIZES = {
  full: { rounds: 3, roundMs: 1000, warmUpMs: 2000 },
  quick: { rounds: 1, roundMs: 100, warmUpMs: 50 },
};

const CONCURRENCIES = [1, 16, 64] as const;

/** Requests at once through Envoy. */
const HTTP_CONCURRENCY = 16;

export const authz: Benchmark = {
  name: 'authz',
  summary: 'ext_authz decisions a second and their latency, beside a bare gRPC echo, directly and through Envoy',
  method:
    'The server is a process of its own with the shipped Rego and a table of 20 rows, of which the last one allows; ' +
    'every request carries the SVID of its peer, has a path of its own and must be allowed. The client is another process with one ' +
    'connection on the Unix socket. Beside it, in the same rounds, a @grpc/grpc-js service that answers the same ' +
    'requests with the same bytes and looks at nothing: the floor for any gate on Node. Through Envoy, 16 mTLS ' +
    'connections send a request at a time each to three listeners that differ in the filter alone; the answers come ' +
    'from Envoy itself. Server, client and Envoy share the cores.',
  run,
};

interface Pace {
  readonly rounds: number;
  readonly roundMs: number;
  readonly warmUpMs: number;
}

async function run({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const pace = SIZES[size];
  await using server = await createBenchServer({ gate: true });
  progress('starting the server');
  await server.process.start();
  const identity = await fetchPeerIdentity(server.sds);
  const requests = checkRequests(identity.certificateChain);
  const reply = await firstReply(server.gate, requests[0]!);
  await using echo = startWorker<EchoJobs>('echo-worker.ts');
  const echoAddress = `unix:${join(server.folder, 'run/echo.sock')}`;
  await echo.ask('listen', { address: echoAddress, reply });
  const direct = await directRounds({ gate: server.gate, echo: echoAddress, requests, reply }, { ...pace, progress });
  const throughEnvoy = await envoyRounds(server.folder, identity, { ...pace, progress });
  return [
    { name: 'check_request_bytes', value: requests[0]!.length, meaning: 'size of a check request' },
    { name: 'check_reply_bytes', value: reply.length, meaning: 'size of its reply' },
    ...direct,
    ...throughEnvoy,
  ];
}

async function firstReply(gate: string, request: Uint8Array): Promise<Uint8Array> {
  using client = connect(gate);
  const reply = await client.unary(AUTHORIZATION_SERVICE.check.path, request);
  if (!isAllowed(reply)) throw new Error('the gate denies what its policy allows');
  return reply;
}

async function directRounds(
  sides: {
    readonly gate: string;
    readonly echo: string;
    readonly requests: readonly Uint8Array[];
    readonly reply: Uint8Array;
  },
  { rounds, roundMs, warmUpMs, progress }: Pace & Pick<BenchmarkContext, 'progress'>,
): Promise<readonly Figure[]> {
  await using client = startWorker<CheckJobs>('check-worker.ts');
  const { requests, reply } = sides;
  const load = (address: string, concurrency: number, durationMs: number): Promise<Round> =>
    client.ask('load', { address, requests, replyBytes: reply.length, concurrency, durationMs });
  progress('warming up');
  await load(sides.gate, 16, warmUpMs);
  await load(sides.echo, 16, warmUpMs);
  const figures: Figure[] = [];
  for (const concurrency of CONCURRENCIES) {
    progress(`${rounds} rounds with ${concurrency} requests at a time, gate and echo in turn`);
    const { gate, echo } = await interleaved(rounds, {
      gate: () => load(sides.gate, concurrency, roundMs),
      echo: () => load(sides.echo, concurrency, roundMs),
    });
    figures.push(...directFigures(concurrency, gate, echo));
  }
  return figures;
}

function directFigures(concurrency: number, gate: readonly Round[], echo: readonly Round[]): readonly Figure[] {
  const at = `_at_${concurrency}`;
  const asking = `${concurrency} at a time`;
  return [
    { name: `check_per_second${at}`, value: medianPerSecond(gate), meaning: `decisions, ${asking}` },
    { name: `check_p50_ms${at}`, value: medianLatencyMs(gate, 0.5), meaning: 'round trip, median' },
    { name: `check_p99_ms${at}`, value: medianLatencyMs(gate, 0.99), meaning: 'round trip, 99th percentile' },
    { name: `echo_per_second${at}`, value: medianPerSecond(echo), meaning: `the floor: echoes, ${asking}` },
    { name: `echo_p50_ms${at}`, value: medianLatencyMs(echo, 0.5), meaning: 'round trip, median' },
    { name: `echo_p99_ms${at}`, value: medianLatencyMs(echo, 0.99), meaning: 'round trip, 99th percentile' },
    {
      name: `check_vs_echo${at}`,
      value: medianRatio(rates(gate), rates(echo)),
      meaning: 'decisions for each echo in the same time',
    },
  ];
}

async function envoyRounds(
  folder: string,
  identity: ClientIdentity,
  { rounds, roundMs, warmUpMs, progress }: Pace & Pick<BenchmarkContext, 'progress'>,
): Promise<readonly Figure[]> {
  progress('starting Envoy');
  await using envoy = await startBenchEnvoy(folder);
  await using client = startWorker<HttpJobs>('http-worker.ts');
  const { address, ports } = envoy;
  const load = (port: number, durationMs: number): Promise<Round> =>
    client.ask('load', { address, port, identity, concurrency: HTTP_CONCURRENCY, durationMs });
  for (const listener of LISTENERS) await load(ports[listener], warmUpMs / 2);
  progress(`${rounds} rounds through Envoy, without the filter, with svidgate and with the echo in turn`);
  const { none, svidgate, echo } = await interleaved(rounds, {
    none: () => load(ports.none, roundMs),
    svidgate: () => load(ports.svidgate, roundMs),
    echo: () => load(ports.echo, roundMs),
  });
  const seen = (name: string, round: readonly Round[], filter: string): readonly Figure[] => [
    { name: `${name}_per_second`, value: medianPerSecond(round), meaning: `requests through Envoy, ${filter}` },
    { name: `${name}_p50_ms`, value: medianLatencyMs(round, 0.5), meaning: 'round trip, median' },
    { name: `${name}_p99_ms`, value: medianLatencyMs(round, 0.99), meaning: 'round trip, 99th percentile' },
  ];
  return [
    ...seen('envoy_plain', none, 'without the filter'),
    ...seen('envoy_svidgate', svidgate, 'ext_authz to svidgate'),
    ...seen('envoy_echo', echo, 'ext_authz to the echo'),
    {
      name: 'envoy_svidgate_vs_plain',
      value: medianRatio(rates(svidgate), rates(none)),
      meaning: 'requests with svidgate for each one without the filter',
    },
    {
      name: 'envoy_svidgate_vs_echo',
      value: medianRatio(rates(svidgate), rates(echo)),
      meaning: 'requests with svidgate for each one with the echo',
    },
  ];
}

function rates(rounds: readonly Round[]): readonly number[] {
  return rounds.map(({ perSecond }) => perSecond);
}
