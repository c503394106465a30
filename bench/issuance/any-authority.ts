import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { AUTHORIZATION_SERVICE } from '../../src/proto/index.ts';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { benchFolder } from '../parts/bench-folder.ts';
import type { CheckJobs } from '../parts/check-worker.ts';
import type { GrpcJobs } from '../parts/grpc-worker.ts';
import { measureRound, type Round } from '../parts/measure.ts';
import { openWireCall } from '../parts/wire-call.ts';
import { startWorker, type Worker } from '../parts/worker.ts';
import { interleaved, median, medianRatio } from '../statistics.ts';

const SIZES = {
  full: { rounds: 5, roundMs: 600 },
  quick: { rounds: 1, roundMs: 50 },
};

const CONCURRENCY = 16;

/** About those of a check. */
const REQUEST_BYTES = 2300;
const REPLY_BYTES = 80;

/** What serving any `:authority` costs: our server with and without it, calls on one connection and connections. */
export async function measureAnyAuthority({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rounds, roundMs } = SIZES[size];
  await using folder = await benchFolder();
  await using client = startWorker<CheckJobs>('check-worker.ts');
  await using withIt = startWorker<GrpcJobs>('grpc-worker.ts');
  await using without = startWorker<GrpcJobs>('grpc-worker.ts');
  const reply = randomBytes(REPLY_BYTES);
  const listen = async (worker: Worker<GrpcJobs>, anyAuthority: boolean): Promise<string> => {
    const socket = join(folder.path, 'run', `${anyAuthority}.sock`);
    await worker.ask('listen', { socket, anyAuthority, reply });
    return socket;
  };
  const [any, plain] = await Promise.all([listen(withIt, true), listen(without, false)]);
  const requests = [randomBytes(REQUEST_BYTES)];
  const pace = { concurrency: CONCURRENCY, durationMs: roundMs };
  const calls = (socket: string) => (): Promise<Round> =>
    client.ask('load', { address: `unix:${socket}`, requests, replyBytes: REPLY_BYTES, ...pace });
  const connections = (socket: string) => (): Promise<Round> => measureRound(pace, () => connectAndCall(socket));
  const variants = {
    plainCalls: calls(plain),
    anyCalls: calls(any),
    plainConnections: connections(plain),
    anyConnections: connections(any),
  };
  progress(`${rounds} rounds of ${roundMs} ms with and without any authority`);
  await interleaved(1, variants); // warms up
  const { plainCalls, anyCalls, plainConnections, anyConnections } = await interleaved(rounds, variants);
  return [
    ...compared('calls', {
      any: anyCalls,
      plain: plainCalls,
      what: `calls on one connection, ${CONCURRENCY} at a time`,
    }),
    ...compared('connections', { any: anyConnections, plain: plainConnections, what: 'connections with a call each' }),
  ];
}

function compared(
  name: string,
  { any, plain, what }: { readonly any: readonly Round[]; readonly plain: readonly Round[]; readonly what: string },
): readonly Figure[] {
  const [with_, without] = [any, plain].map((rounds) => rounds.map(({ perSecond }) => perSecond)) as [
    number[],
    number[],
  ];
  return [
    { name: `any_authority_${name}_per_second`, value: median(with_), meaning: `${what}, any authority served` },
    { name: `plain_${name}_per_second`, value: median(without), meaning: 'the same by Node alone' },
    {
      name: `any_authority_${name}_vs_plain`,
      value: medianRatio(with_, without),
      meaning: 'one for each of the other',
    },
  ];
}

function connectAndCall(socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = openWireCall({
      socket,
      path: AUTHORIZATION_SERVICE.check.path,
      request: randomBytes(REQUEST_BYTES),
      isWhole: true,
      onMessage: ({ bytes }) => {
        call.close();
        if (bytes.length === REPLY_BYTES) resolve();
        else reject(new Error('a call was answered otherwise'));
      },
      onEnd: (reason) => reject(new Error(reason)),
    });
  });
}
