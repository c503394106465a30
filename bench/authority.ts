import { join } from 'node:path';
import { tempFolder } from '../test/support/temp-folder.ts';
import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import { medianPerSecond, measureRound, type Round } from './parts/measure.ts';
import { connectTransport } from './parts/transport-client.ts';
import type { TransportJobs } from './parts/transport-worker.ts';
import { startWorker } from './parts/worker.ts';
import { interleaved, median } from './statistics.ts';

const SIZES = {
  full: { rounds: 5, roundMs: 2000, warmUpMs: 2000 },
  quick: { rounds: 1, roundMs: 50, warmUpMs: 50 },
};

const CONCURRENCY = 16;

export const authority: Benchmark = {
  name: 'authority',
  summary: 'what it costs to serve any :authority, on the gRPC server alone',
  method:
    'Two gRPC servers that answer each call with the same 64 bytes, one of them with `anyAuthority`, each in a process of its ' +
    'own; this process asks them in turn over one connection each, 16 calls at a time of 900 bytes. Good: the authority is one ' +
    'that Node accepts, so bytes pass as they come. Mended: it is `outbound|8080||x`, so each header block is written anew.',
  run,
};

interface Client extends Disposable {
  round(durationMs: number): Promise<Round>;
}

function connect(path: string, name: string): Client {
  const client = connectTransport(path, { ':authority': name });
  return {
    round: (durationMs) => measureRound({ concurrency: CONCURRENCY, durationMs }, () => client.ask()),
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

async function run({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rounds, roundMs, warmUpMs } = SIZES[size];
  await using folder = await tempFolder();
  const paths = { without: join(folder.path, 'without.sock'), with: join(folder.path, 'with.sock') };
  await using without = startWorker<TransportJobs>('transport-worker.ts');
  await using withStage = startWorker<TransportJobs>('transport-worker.ts');
  await without.ask('listen', { path: paths.without, library: 'grpc-js', anyAuthority: false });
  await withStage.ask('listen', { path: paths.with, library: 'grpc-js', anyAuthority: true });
  using plain = connect(paths.without, 'svidgate');
  using good = connect(paths.with, 'svidgate');
  using mended = connect(paths.with, 'outbound|8080||x');
  progress('warming up');
  for (const client of [plain, good, mended]) await client.round(warmUpMs);
  progress(`${rounds} rounds without, with a good authority and with one that is mended in turn`);
  const seen = await interleaved(rounds, {
    plain: () => plain.round(roundMs),
    good: () => good.round(roundMs),
    mended: () => mended.round(roundMs),
  });
  return [
    { name: 'plain_per_second', value: medianPerSecond(seen.plain), meaning: 'calls without `anyAuthority`' },
    { name: 'good_per_second', value: medianPerSecond(seen.good), meaning: 'with it, a good authority' },
    { name: 'mended_per_second', value: medianPerSecond(seen.mended), meaning: 'with it, `outbound|8080||x`' },
    { name: 'good_vs_plain', value: ratio(seen.good, seen.plain), meaning: 'good for each plain in the same time' },
    {
      name: 'mended_vs_plain',
      value: ratio(seen.mended, seen.plain),
      meaning: 'mended for each plain in the same time',
    },
  ];
}

function ratio(one: readonly Round[], other: readonly Round[]): number {
  return median(one.map(({ perSecond }, index) => perSecond / (other[index]?.perSecond ?? Number.NaN)));
}
