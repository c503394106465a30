import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { AUTHORIZATION_SERVICE } from '../src/proto/index.ts';
import { connect } from '../test/support/grpc-client.ts';
import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import { createBenchServer, type BenchServer } from './parts/bench-server.ts';
import { checkRequests, isAllowed } from './parts/check-requests.ts';
import { fetchPeerIdentity } from './parts/identity.ts';
import { soon } from './parts/measure.ts';
import { interleaved, median } from './statistics.ts';

const SIZES = { full: { rounds: 4 }, quick: { rounds: 1 } };

const STEP_LIMIT_MS = 30_000;

export const restart: Benchmark = {
  name: 'restart',
  summary: 'process start to sockets, first SVID and first allow, with an empty and with a filled data directory',
  method:
    'Each start is a new server process with the shipped Rego. Cold: the data directory is empty. Warm: it is the one ' +
    'that the start before left. The floor is a Node process that runs an empty script. Times are taken from the start ' +
    'of the process by a client that asks every 2 ms.',
  run,
};

/** Milliseconds from the start of the process. */
interface Start {
  readonly socket: number;
  readonly firstSvid: number;
  readonly firstAllow: number;
  readonly ready: number;
}

async function run({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rounds } = SIZES[size];
  await using server = await createBenchServer({ gate: true });
  progress(`${rounds} rounds of a cold start, a warm start and a bare Node`);
  const { cold, warm, node } = await interleaved(rounds, {
    cold: async () => {
      await rm(join(server.folder, 'data'), { recursive: true, force: true });
      return startOnce(server);
    },
    warm: () => startOnce(server),
    node: bareNode,
  });
  return [
    ...figuresOf('cold', cold, 'empty data directory'),
    ...figuresOf('warm', warm, 'filled data directory'),
    { name: 'bare_node_ms', value: median(node), meaning: 'the floor: a Node process that does nothing, start to end' },
  ];
}

function figuresOf(kind: 'cold' | 'warm', starts: readonly Start[], with_: string): readonly Figure[] {
  const figure = (name: keyof Start, what: string): Figure => ({
    name: `${kind}_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_ms`,
    value: median(starts.map((start) => start[name])),
    meaning: `${with_}: until ${what}`,
  });
  return [
    figure('socket', 'the SDS socket takes connections'),
    figure('firstSvid', 'a caller has its SVID'),
    figure('firstAllow', 'a request is allowed'),
    figure('ready', '/ready says so, asked every 25 ms'),
  ];
}

async function startOnce(server: BenchServer): Promise<Start> {
  const begin = performance.now();
  const since = (): number => performance.now() - begin;
  const ready = server.process.start();
  ready.catch(() => undefined); // seen below
  try {
    await soon('the SDS socket', STEP_LIMIT_MS, () => accepts(server.sds));
    const socket = since();
    const { certificateChain } = await fetchPeerIdentity(server.sds);
    const firstSvid = since();
    const [request] = checkRequests(certificateChain);
    await soon('the gate', STEP_LIMIT_MS, () => accepts(server.gate));
    using client = connect(server.gate);
    await soon('the first allow', STEP_LIMIT_MS, async () => {
      const reply = await client.unary(AUTHORIZATION_SERVICE.check.path, request!);
      return isAllowed(reply) || undefined;
    });
    const firstAllow = since();
    return { socket, firstSvid, firstAllow, ready: await ready };
  } finally {
    await ready.catch(() => undefined);
    await server.process.stop('SIGTERM');
  }
}

/** True once somebody accepts on `unix:PATH`. */
async function accepts(address: string): Promise<true | undefined> {
  const socket = createConnection(address.slice('unix:'.length));
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

async function bareNode(): Promise<number> {
  const begin = performance.now();
  await once(spawn(process.execPath, ['-e', ''], { stdio: 'ignore' }), 'exit');
  return performance.now() - begin;
}
