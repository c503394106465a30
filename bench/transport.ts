import { join } from 'node:path';
import { tempFolder } from '../test/support/temp-folder.ts';
import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import { measureRound } from './parts/measure.ts';
import { cpuMsOf } from './parts/process-usage.ts';
import { connectTransport } from './parts/transport-client.ts';
import type { TransportJobs, TransportServer } from './parts/transport-worker.ts';
import { startWorker } from './parts/worker.ts';
import { interleaved, median, medianRatio } from './statistics.ts';

const SIZES = {
  full: { rounds: 5, roundMs: 3000, warmUpMs: 3000 },
  quick: { rounds: 1, roundMs: 100, warmUpMs: 50 },
};

const CONCURRENCY = 32;

export const transport: Benchmark = {
  name: 'transport',
  summary: 'what a call costs the gRPC server of the gate, and one on grpc-js',
  method:
    'gRPC servers that answer each call with the same 64 bytes, each in a process of its own: on grpc-js, on node:http2 as ' +
    'the gate is, and the latter with `any_authority`. This process asks them in turn over one connection each, 32 calls at ' +
    'a time of 900 bytes with a `grpc-timeout`. What is counted is the processor time of the server, which a client that is ' +
    'slower than it does not change.',
  run,
};

interface Scene extends AsyncDisposable {
  /** Microseconds of processor time of the server for each call of a round. */
  round(durationMs: number): Promise<number>;
}

async function openScene(server: TransportServer): Promise<Scene> {
  const worker = startWorker<TransportJobs>('transport-worker.ts');
  await worker.ask('listen', server);
  const client = connectTransport(server.path, { ':authority': 'svidgate', 'grpc-timeout': '200m' });
  return {
    async round(durationMs) {
      const before = await cpuMsOf(worker.pid);
      const { latenciesMs } = await measureRound({ concurrency: CONCURRENCY, durationMs }, () => client.ask());
      return (1000 * ((await cpuMsOf(worker.pid)) - before)) / latenciesMs.length;
    },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await worker[Symbol.asyncDispose]();
    },
  };
}

async function run({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rounds, roundMs, warmUpMs } = SIZES[size];
  await using folder = await tempFolder();
  const path = (name: string): string => join(folder.path, name);
  await using grpcJs = await openScene({ path: path('js'), library: 'grpc-js', anyAuthority: false });
  await using gate = await openScene({ path: path('gate'), library: 'node:http2', anyAuthority: false });
  await using any = await openScene({ path: path('any'), library: 'node:http2', anyAuthority: true });
  progress('warming up');
  for (const scene of [grpcJs, gate, any]) await scene.round(warmUpMs);
  progress(`${rounds} rounds of each in turn`);
  const seen = await interleaved(rounds, {
    grpcJs: () => grpcJs.round(roundMs),
    gate: () => gate.round(roundMs),
    any: () => any.round(roundMs),
  });
  return [
    { name: 'grpc_js_cpu_us_per_call', value: median(seen.grpcJs), meaning: 'on grpc-js' },
    { name: 'gate_cpu_us_per_call', value: median(seen.gate), meaning: 'as the gate is, on node:http2' },
    {
      name: 'gate_calls_per_core_second',
      value: 1e6 / median(seen.gate),
      meaning: 'calls in a second of processor time',
    },
    { name: 'grpc_js_vs_gate', value: medianRatio(seen.grpcJs, seen.gate), meaning: 'times what the gate needs' },
    { name: 'any_authority_cpu_us_per_call', value: median(seen.any), meaning: 'with `any_authority`' },
    { name: 'any_authority_vs_gate', value: medianRatio(seen.any, seen.gate), meaning: 'times what the gate needs' },
  ];
}
