import { setTimeout as pause } from 'node:timers/promises';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { linkNode } from '../parts/bench-folder.ts';
import { createBenchServer, OWN_SELECTOR, TRUST_DOMAIN, type BenchServer, type Entry } from '../parts/bench-server.ts';
import type { Asked, FirstAnswers, IdentityJobs } from '../parts/identity-worker.ts';
import { cpuMsOf } from '../parts/process-usage.ts';
import { startWorker, type Worker } from '../parts/worker.ts';
import { interleaved, median } from '../statistics.ts';

/**
 * `each` identities for each of `processes`. `settleMs` lets the executables grow as old as they are in practice:
 * attestation remembers the digest only of a file that nobody touched for 2 s.
 */
const SIZES = {
  full: { rounds: 3, processes: 50, each: 20, settleMs: 2500 },
  quick: { rounds: 1, processes: 2, each: 2, settleMs: 0 },
};

type Api = Asked['kind'];

/** A process of its own executable, and the identities that are its. */
interface Caller {
  readonly worker: Worker<IdentityJobs>;
  readonly spiffeIds: readonly string[];
}

interface Served {
  readonly ms: number;
  /** Processor time of the server, which other work of the machine does not change much. */
  readonly cpuMs: number;
}

interface Scene {
  readonly server: BenchServer;
  /** Has all identities. */
  readonly one: Caller;
  /** Share them. */
  readonly many: readonly Caller[];
}

/** From a server that has just started and has issued nothing, until the last of the identities has arrived. */
export async function measureCold({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rounds, processes, each, settleMs } = SIZES[size];
  const count = processes * each;
  await using server = await createBenchServer({ gate: false });
  await using open = new AsyncDisposableStack();
  const caller = async (
    name: string,
    spiffeIds: readonly string[],
  ): Promise<Caller & { readonly entries: readonly Entry[] }> => {
    const node = await linkNode(server.folder, name);
    const selectors = [OWN_SELECTOR, `unix:path:${node}`];
    const worker = open.use(startWorker<IdentityJobs>('identity-worker.ts', node));
    return { worker, spiffeIds, entries: spiffeIds.map((spiffe_id) => ({ spiffe_id, selectors })) };
  };
  const idsOf = (name: string, length: number): readonly string[] =>
    Array.from({ length }, (_, index) => `spiffe://${TRUST_DOMAIN}/${name}/${index}`);
  const one = await caller('one', idsOf('one', count));
  const many = await Promise.all(
    Array.from({ length: processes }, (_, index) => caller(`many-${index}`, idsOf(`many-${index}`, each))),
  );
  await server.writeEntries([...one.entries, ...many.flatMap(({ entries }) => entries)]);
  await pause(settleMs);
  const scene: Scene = { server, one, many };
  progress(`${rounds} rounds of ${count} identities from cold, in four ways`);
  const times = await interleaved(rounds, {
    one_stream_workload_api: () => serveOne(scene, 'workload-api'),
    one_stream_sds: () => serveOne(scene, 'sds'),
    connections_workload_api: () => serveMany(scene, 'workload-api'),
    connections_sds: () => serveMany(scene, 'sds'),
  });
  const inOne = `${count} entries of one caller on one stream`;
  const inMany = `${count} connections of ${processes} processes with ${each} entries each`;
  return [
    ...figures('cold_one_stream_workload_api', times.one_stream_workload_api, `${inOne}, Workload API`),
    ...figures('cold_one_stream_sds', times.one_stream_sds, `${inOne}, SDS by all names`),
    ...figures('cold_connections_workload_api', times.connections_workload_api, `${inMany}, Workload API`),
    ...figures('cold_connections_sds', times.connections_sds, `${inMany}, SDS by one name each`),
  ];
}

function figures(name: string, served: readonly Served[], what: string): readonly Figure[] {
  return [
    { name: `${name}_ms`, value: median(served.map(({ ms }) => ms)), meaning: `until all are served: ${what}` },
    {
      name: `${name}_cpu_ms`,
      value: median(served.map(({ cpuMs }) => cpuMs)),
      meaning: 'processor time of the server for it, all threads',
    },
  ];
}

async function serveOne(scene: Scene, api: Api): Promise<Served> {
  const { spiffeIds } = scene.one;
  return await fromCold(scene, [
    { caller: scene.one, asked: [api === 'sds' ? { kind: api, names: spiffeIds } : { kind: api }] },
  ]);
}

async function serveMany(scene: Scene, api: Api): Promise<Served> {
  const asking = scene.many.map((caller) => ({
    caller,
    asked: caller.spiffeIds.map((name): Asked => (api === 'sds' ? { kind: api, names: [name] } : { kind: api })),
  }));
  return await fromCold(scene, asking);
}

/** Milliseconds from the first connection to the last answer. */
async function fromCold(
  { server }: Scene,
  asking: readonly { readonly caller: Caller; readonly asked: readonly Asked[] }[],
): Promise<Served> {
  await server.process.start();
  const pid = server.process.child?.pid ?? -1;
  const before = await cpuMsOf(pid);
  const socket = server.sds.slice('unix:'.length);
  const answers = await Promise.all(
    asking.map(async ({ caller, asked }) => {
      const served = await caller.worker.ask('open', { socket, asked });
      assertServed(served, caller, asked);
      return served;
    }),
  );
  const cpuMs = (await cpuMsOf(pid)) - before;
  const ms =
    Math.max(...answers.flatMap(({ servedAt }) => servedAt)) - Math.min(...answers.map(({ beganAt }) => beganAt));
  await Promise.all(asking.map(({ caller }) => caller.worker.ask('close', undefined)));
  await server.process.stop('SIGTERM');
  return { ms, cpuMs };
}

/** Each connection got what it asked for, and together they got all of the caller's identities. */
function assertServed({ spiffeIds }: FirstAnswers, caller: Caller, asked: readonly Asked[]): void {
  for (const [connection, ids] of spiffeIds.entries()) {
    const question = asked[connection];
    const expected = question?.kind === 'sds' ? question.names : caller.spiffeIds;
    const given = new Set(ids);
    if (given.size !== expected.length || !expected.every((id) => given.has(id))) {
      throw new Error(`a caller was given ${given.size} identities and not its ${expected.length}`);
    }
  }
}
