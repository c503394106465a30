import { once } from 'node:events';
import http2 from 'node:http2';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { AUTHORIZATION_SERVICE } from '../src/proto/index.ts';
import { frame } from '../test/support/raw-grpc.ts';
import { tempFolder } from '../test/support/temp-folder.ts';
import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import type { AuthorityJobs } from './parts/authority-worker.ts';
import { medianPerSecond, measureRound, type Round } from './parts/measure.ts';
import { startWorker } from './parts/worker.ts';
import { interleaved, median } from './statistics.ts';

const SIZES = {
  full: { rounds: 5, roundMs: 2000, warmUpMs: 2000 },
  quick: { rounds: 1, roundMs: 50, warmUpMs: 50 },
};

const CONCURRENCY = 16;
/** Of an ordinary check request. */
const REQUEST_BYTES = 900;

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
  const session = http2.connect('http://svidgate', { createConnection: () => createConnection(path) });
  const headers = {
    ':method': 'POST',
    ':path': AUTHORIZATION_SERVICE.check.path,
    ':authority': name,
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  const body = frame(Buffer.alloc(REQUEST_BYTES, 1));
  const ask = async (): Promise<void> => {
    const stream = session.request(headers);
    stream.resume().end(body);
    const [trailers] = (await once(stream, 'trailers')) as [http2.IncomingHttpHeaders];
    if (trailers['grpc-status'] !== '0') throw new Error('answered with another status than 0');
  };
  return {
    round: (durationMs) => measureRound({ concurrency: CONCURRENCY, durationMs }, ask),
    [Symbol.dispose]: () => session.destroy(),
  };
}

async function run({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rounds, roundMs, warmUpMs } = SIZES[size];
  await using folder = await tempFolder();
  const paths = { without: join(folder.path, 'without.sock'), with: join(folder.path, 'with.sock') };
  await using without = startWorker<AuthorityJobs>('authority-worker.ts');
  await using withStage = startWorker<AuthorityJobs>('authority-worker.ts');
  await without.ask('listen', { path: paths.without, anyAuthority: false });
  await withStage.ask('listen', { path: paths.with, anyAuthority: true });
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
