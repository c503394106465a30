import { setTimeout as pause } from 'node:timers/promises';
import type { Figure } from '../benchmark.ts';
import { cpuMsOf, residentMbOf } from '../parts/process-usage.ts';
import { interleaved, median, medianRatio } from '../statistics.ts';
import {
  closeFleet,
  connectionsOf,
  COUNTS,
  LARGE,
  openFleet,
  quiet,
  STREAMS_PER_CONNECTION,
  type Group,
} from './fleet.ts';
import { pidOf, type Scene } from './scene.ts';

const SIZES = {
  full: { rounds: 7, large: 2, idle: 1000, settleMs: 1500, watchMs: 6000 },
  quick: { rounds: 1, large: 1, idle: 6, settleMs: 20, watchMs: 50 },
};

const NAME = 'default';

const groupOf = ({ fleet }: Scene, streams: number, each?: number): readonly Group[] => [
  { worker: fleet.worker, connections: connectionsOf(Array<string>(streams).fill(NAME), each) },
];

/** What streams cost that nothing happens on, on a server that has just started; and the first service of all. */
export async function measureIdle(scene: Scene): Promise<readonly Figure[]> {
  const { context, server } = scene;
  const { idle, settleMs, watchMs } = SIZES[context.size];
  context.progress(`${idle} streams on a server that has just started, then nothing`);
  const pid = pidOf(scene);
  const cpuPercent = async (): Promise<number> => {
    const before = await cpuMsOf(pid);
    await pause(watchMs);
    return ((await cpuMsOf(pid)) - before) / (watchMs / 100);
  };
  await pause(settleMs);
  const alone = { cpu: await cpuPercent(), resident: await residentMbOf(pid) };
  const groups = groupOf(scene, idle);
  const coldMs = await openFleet(scene, groups, 'own');
  await quiet(groups);
  await pause(settleMs);
  const connected = { cpu: await cpuPercent(), resident: await residentMbOf(pid) };
  await closeFleet(groups, 'own');
  if (!server.process.child?.isRunning()) throw new Error('the server has ended');
  const perThousand = 1000 / idle;
  return [
    { name: 'resident_alone_mb', value: alone.resident, meaning: 'resident memory of the server without a caller' },
    { name: 'resident_1000_mb', value: connected.resident, meaning: `the same with ${idle} idle streams` },
    {
      name: 'memory_per_1000_streams_mb',
      value: Math.max(0, (connected.resident - alone.resident) * perThousand),
      meaning: 'what 1,000 idle streams add to it',
    },
    {
      name: 'cpu_per_1000_idle_streams_percent',
      value: Math.max(0, (connected.cpu - alone.cpu) * perThousand),
      meaning: 'of a core, beyond what the server takes without a caller',
    },
    {
      name: 'first_service_1000_cold_ms',
      value: coldMs,
      meaning: `first service of ${idle} streams after the start, the executable's digest included`,
    },
  ];
}

/** From the first of N streams that are opened at once to the first secret of the last, by a server that knows them. */
export async function measureFirstService(scene: Scene): Promise<readonly Figure[]> {
  const { size, progress } = scene.context;
  const { rounds, large, idle } = SIZES[size];
  const shapes = [
    ...COUNTS[size].map(([name, streams]) => ({ name: `${name}`, streams, each: STREAMS_PER_CONNECTION, what: '' })),
    { name: '1000_one_connection', streams: idle, each: idle, what: ', on one connection' },
    { name: '1000_connections', streams: idle, each: 1, what: ', on a connection each' },
  ];
  const figures: Figure[] = [];
  for (const { name, streams, each, what } of shapes) {
    progress(`first service of ${streams} streams${what}`);
    const isLarge = name === `${LARGE}`;
    const { own, floor } = await firstService(scene, groupOf(scene, streams, each), isLarge ? large : rounds);
    figures.push(
      {
        name: `first_service_${name}_ms`,
        value: median(own),
        meaning: `first secret on the last of ${streams} streams${what}`,
      },
      {
        name: `first_service_${name}_vs_floor`,
        value: medianRatio(own, floor),
        meaning: 'its time by that of the floor',
      },
    );
  }
  return figures;
}

async function firstService(
  scene: Scene,
  groups: readonly Group[],
  rounds: number,
): Promise<{ readonly own: readonly number[]; readonly floor: readonly number[] }> {
  const once = (side: 'own' | 'floor') => async (): Promise<number> => {
    const ms = await openFleet(scene, groups, side);
    await quiet(groups);
    await closeFleet(groups, side);
    await quiet(groups);
    return ms;
  };
  return await interleaved(rounds, { own: once('own'), floor: once('floor') });
}
