import type { Figure } from '../benchmark.ts';
import { residentMbOf } from '../parts/process-usage.ts';
import { interleaved, median, medianRatio, percentile } from '../statistics.ts';
import { closeFleet, connectionsOf, COUNTS, LARGE, openFleet, pushRound, type Group, type PushRound } from './fleet.ts';
import { FOREIGN_TRUST_DOMAIN, foreignDocument, pidOf, SHARED_ENTRY, type Scene } from './scene.ts';

/** `rounds` are those up to 1,000 streams, `large` those with 10,000. `others` are streams that the change is not about. */
const SIZES = {
  full: { rounds: 50, large: 4, others: 20 },
  quick: { rounds: 1, large: 2, others: 2 },
};

interface Change {
  readonly name: string;
  readonly what: string;
  /** Asked for by all streams, and by a few others that the change is not about. */
  readonly asked: string;
  readonly other: string;
  make(scene: Scene, count: number): Promise<void>;
}

const CHANGES: readonly Change[] = [
  {
    name: 'bundle_change',
    what: 'bundle of a federated trust domain set',
    asked: 'ALL',
    other: 'default',
    async make({ admin }) {
      const document = await foreignDocument();
      await admin.call('setBundle', { trustDomain: FOREIGN_TRUST_DOMAIN, document });
    },
  },
  {
    name: 'shared_entry',
    what: 'entry that all streams share updated',
    asked: 'default',
    other: 'ALL',
    async make({ admin }, count) {
      const entry = { dnsNames: [`change-${count}.bench.test`] };
      await admin.call('updateEntry', { entryId: SHARED_ENTRY, entry, updateFields: ['dns_names'] });
    },
  },
];

/** From a change by the admin API, audit and commit to disk included, to its arrival on the last of N streams. */
export async function measureSharedChanges(scene: Scene): Promise<readonly Figure[]> {
  const { others } = SIZES[scene.context.size];
  const figures: Figure[] = [];
  const counter = { changes: 0 };
  for (const change of CHANGES) {
    figures.push(await changeAlone(scene, change, counter));
    const bystanders: Group = {
      worker: scene.fleet.worker,
      connections: connectionsOf(Array<string>(others).fill(change.other)),
    };
    for (const [name, streams] of COUNTS[scene.context.size]) {
      await openBystanders(scene, bystanders);
      figures.push(...(await changeToStreams(scene, change, { name, streams, counter })));
      scene.unneeded += await scene.fleet.worker.ask('unneeded', { fleet: BYSTANDERS, awaited: false });
      await scene.fleet.worker.ask('close', BYSTANDERS);
    }
  }
  figures.push({
    name: 'resident_after_changes_mb',
    value: await residentMbOf(pidOf(scene)),
    meaning: 'resident memory of the server after all of that, without a caller',
  });
  return figures;
}

const BYSTANDERS = 'bystanders';

async function openBystanders(scene: Scene, { worker, connections }: Group): Promise<void> {
  await worker.ask('open', { fleet: BYSTANDERS, socket: scene.sockets.own, protocol: 'sotw', connections });
  await worker.ask('arm', BYSTANDERS);
}

/** The call itself, while nobody is connected. */
async function changeAlone(scene: Scene, change: Change, counter: { changes: number }): Promise<Figure> {
  const { rounds } = SIZES[scene.context.size];
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const began = performance.now();
    await change.make(scene, (counter.changes += 1));
    times.push(performance.now() - began);
  }
  return {
    name: `${change.name}_0_call_p50_ms`,
    value: median(times),
    meaning: `${change.what}, nobody connected: the call of the admin API alone, median`,
  };
}

async function changeToStreams(
  scene: Scene,
  change: Change,
  {
    name,
    streams,
    counter,
  }: { readonly name: number; readonly streams: number; readonly counter: { changes: number } },
): Promise<readonly Figure[]> {
  const { rounds, large } = SIZES[scene.context.size];
  const count = name < LARGE ? rounds : large;
  scene.context.progress(`${change.what} for ${streams} streams, ${count} times`);
  const groups = [
    { worker: scene.fleet.worker, connections: connectionsOf(Array<string>(streams).fill(change.asked)) },
  ];
  await openFleet(scene, groups, 'own');
  await openFleet(scene, groups, 'floor');
  const { own, floor } = await interleaved(count, {
    own: () => pushRound(scene, { groups, side: 'own' }, () => change.make(scene, (counter.changes += 1))),
    floor: () => pushRound(scene, { groups, side: 'floor' }, () => scene.floor.ask('push', { signs: false })),
  });
  await closeFleet(groups, 'own');
  await closeFleet(groups, 'floor');
  return pushFigures(`${change.name}_${name}`, {
    own,
    floor,
    what: `${change.what} until the last of ${streams} has it`,
  });
}

export function pushFigures(
  name: string,
  {
    own,
    floor,
    what,
  }: { readonly own: readonly PushRound[]; readonly floor: readonly PushRound[]; readonly what: string },
): readonly Figure[] {
  const last = (rounds: readonly PushRound[]): readonly number[] => rounds.map(({ lastMs }) => lastMs);
  return [
    { name: `${name}_p50_ms`, value: median(last(own)), meaning: `${what}, median of ${own.length} changes` },
    { name: `${name}_p99_ms`, value: percentile(last(own), 0.99), meaning: 'the same, 99th percentile' },
    { name: `${name}_floor_p50_ms`, value: median(last(floor)), meaning: 'the floor: the same bytes pushed, median' },
    { name: `${name}_vs_floor`, value: medianRatio(last(own), last(floor)), meaning: 'time by that of the floor' },
  ];
}
