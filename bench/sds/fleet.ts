import { setTimeout as pause } from 'node:timers/promises';
import type { Size } from '../benchmark.ts';
import { sharedClockMs } from '../parts/measure.ts';
import type { FirstServed, SdsJobs } from '../parts/sds-worker.ts';
import type { Worker } from '../parts/worker.ts';
import type { Scene } from './scene.ts';

/** As an Envoy has them that asks for its certificate, two bundles, and secrets of two listeners. */
export const STREAMS_PER_CONNECTION = 5;

export type Side = 'own' | 'floor';

/** How many streams there are, under the number that stands in the names of figures. */
export type Counts = readonly (readonly [name: number, streams: number])[];

export const COUNTS = {
  full: [1, 100, 1000, 10_000].map((count) => [count, count] as const),
  quick: [
    [1, 1],
    [100, 3],
    [1000, 6],
    [10_000, 12],
  ],
} as const satisfies Record<Size, Counts>;

/** Where fewer rounds are enough, and take long enough. */
export const LARGE = 10_000;

/** Streams of one process. */
export interface Group {
  readonly worker: Worker<SdsJobs>;
  /** For each connection, for each of its streams: the names. */
  readonly connections: readonly (readonly (readonly string[])[])[];
  /** The group that each connection is made with, where it is not that of the process. */
  readonly gids?: readonly number[];
}

/** As many connections as it takes, with a stream for each of the names. */
export function connectionsOf(
  names: readonly string[],
  each = STREAMS_PER_CONNECTION,
): readonly (readonly (readonly string[])[])[] {
  return Array.from({ length: Math.ceil(names.length / each) }, (_, connection) =>
    names.slice(connection * each, (connection + 1) * each).map((name) => [name]),
  );
}

/** Milliseconds from the first connection to the first answer on the last stream. */
export async function openFleet(scene: Scene, groups: readonly Group[], side: Side): Promise<number> {
  const served = await Promise.all(
    groups.map(({ worker, ...streams }) =>
      worker.ask('open', { fleet: side, socket: scene.sockets[side], protocol: 'sotw', ...streams }),
    ),
  );
  if (side === 'own') await holdAtFloor(scene, served);
  return Math.max(...served.map(lastOf)) - Math.min(...served.map(({ beganAt }) => beganAt));
}

export async function closeFleet(groups: readonly Group[], side: Side): Promise<void> {
  await Promise.all(groups.map(({ worker }) => worker.ask('close', side)));
}

/** The floor sends what the server sent. */
async function holdAtFloor({ floor }: Scene, [first]: readonly FirstServed[]): Promise<void> {
  if (first !== undefined) await floor.ask('hold', first.sample);
}

export interface PushRound {
  /** From the beginning of the change to its arrival on the last stream. */
  readonly lastMs: number;
  /** To the answer of the call that made the change. */
  readonly callMs: number;
}

/** Makes a change and waits until each stream has been told. */
export async function pushRound(
  scene: Scene,
  { groups, side }: { readonly groups: readonly Group[]; readonly side: Side },
  change: () => Promise<void>,
): Promise<PushRound> {
  const workers = groups.map(({ worker }) => worker);
  await Promise.all(workers.map((worker) => worker.ask('arm', side)));
  const beganAt = sharedClockMs();
  const arrivals = Promise.all(workers.map((worker) => worker.ask('arrivals', side)));
  await change();
  const callMs = sharedClockMs() - beganAt;
  const arrived = await withinLimit(arrivals);
  await quiet(groups);
  const further = await Promise.all(workers.map((worker) => worker.ask('unneeded', { fleet: side, awaited: true })));
  if (side === 'own') scene.unneeded += further.reduce((sum, count) => sum + count, 0);
  return { lastMs: Math.max(...arrived.map(({ at }) => at.reduce((a, b) => Math.max(a, b)))) - beganAt, callMs };
}

/** Lets the acknowledgements be read: they belong to this change, and would else delay the next one. */
export async function quiet(groups: readonly Group[]): Promise<void> {
  const streams = groups.reduce((sum, { connections }) => sum + connections.flat().length, 0);
  await pause(QUIET_MS + streams * QUIET_PER_STREAM_MS);
}

const QUIET_MS = 20;
const QUIET_PER_STREAM_MS = 0.06;
const PUSHED_WITHIN_MS = 60_000;

async function withinLimit<T>(arrivals: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error('a change has not reached every stream')), PUSHED_WITHIN_MS);
  try {
    return await Promise.race([arrivals, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function lastOf({ servedAt }: FirstServed): number {
  return servedAt.reduce((last, at) => Math.max(last, at));
}
