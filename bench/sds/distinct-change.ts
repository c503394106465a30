import type { Figure, Size } from '../benchmark.ts';
import { IMPORT_MODE } from '../parts/admin-client.ts';
import { TRUST_DOMAIN } from '../parts/bench-server.ts';
import { interleaved } from '../statistics.ts';
import { closeFleet, connectionsOf, openFleet, pushRound, type Group } from './fleet.ts';
import type { Client, Scene } from './scene.ts';
import { pushFigures } from './shared-change.ts';

/** `each` identities for each of the callers, and how often all are changed. A size has the entries of those before. */
const SIZES = {
  full: [
    { name: 1, callers: 1, each: 1, rounds: 20 },
    { name: 100, callers: 5, each: 20, rounds: 20 },
    { name: 1000, callers: 50, each: 20, rounds: 10 },
    { name: 10_000, callers: 100, each: 100, rounds: 2 },
  ],
  quick: [
    { name: 1, callers: 1, each: 1, rounds: 1 },
    { name: 100, callers: 1, each: 2, rounds: 1 },
    { name: 1000, callers: 2, each: 2, rounds: 1 },
    { name: 10_000, callers: 2, each: 3, rounds: 2 },
  ],
} as const satisfies Record<Size, readonly DistinctSize[]>;

interface DistinctSize {
  /** In the names of figures. */
  readonly name: number;
  readonly callers: number;
  readonly each: number;
  readonly rounds: number;
}

export const DISTINCT_CALLERS = { full: 100, quick: 2 };

/** From one import that changes N entries to the last of N streams having the new SVID of its own entry. */
export async function measureDistinctChanges(scene: Scene): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const size of SIZES[scene.context.size]) figures.push(...(await changeAll(scene, size)));
  return figures;
}

interface Identity {
  readonly entryId: string;
  readonly spiffeId: string;
  readonly selectors: readonly string[];
}

async function changeAll(scene: Scene, { name, callers, each, rounds }: DistinctSize): Promise<readonly Figure[]> {
  const count = callers * each;
  scene.context.progress(`${count} entries of ${callers} callers changed at once, ${rounds} times`);
  const sets = scene.callers
    .slice(0, callers)
    .map((client, caller) => ({ client, identities: identitiesOf(client, caller, each) }));
  const entries = sets.flatMap(({ identities }) => identities);
  const admin = scene.admin;
  await admin.call('importEntries', { entries, mode: IMPORT_MODE.replace });
  const groups: readonly Group[] = sets.map(({ client, identities }) => ({
    worker: client.worker,
    connections: connectionsOf(identities.map(({ spiffeId }) => spiffeId)),
  }));
  await openFleet(scene, groups, 'own');
  await openFleet(scene, groups, 'floor');
  let changes = 0;
  const change = async (): Promise<void> => {
    changes += 1;
    const changed = entries.map((entry) => ({ ...entry, dnsNames: [`change-${changes}.bench.test`] }));
    await admin.call('importEntries', { entries: changed, mode: IMPORT_MODE.replace });
  };
  const { own, floor } = await interleaved(rounds, {
    own: () => pushRound(scene, { groups, side: 'own' }, change),
    floor: () => pushRound(scene, { groups, side: 'floor' }, () => scene.floor.ask('push', { signs: true })),
  });
  await closeFleet(groups, 'own');
  await closeFleet(groups, 'floor');
  const what = `${count} entries of ${callers} callers changed by one import until all are signed and the last has arrived`;
  return pushFigures(`distinct_${name}`, { own, floor, what });
}

function identitiesOf({ selectors }: Client, caller: number, each: number): readonly Identity[] {
  return Array.from({ length: each }, (_, index) => ({
    entryId: `distinct-${caller}-${index}`,
    spiffeId: `spiffe://${TRUST_DOMAIN}/distinct/${caller}/${index}`,
    selectors,
  }));
}
