import type { Figure, Size } from '../benchmark.ts';
import { IMPORT_MODE } from '../parts/admin-client.ts';
import { OWN_SELECTOR, TRUST_DOMAIN } from '../parts/bench-server.ts';
import { interleaved } from '../statistics.ts';
import {
  closeFleet,
  connectionsOf,
  COUNTS,
  LARGE,
  openFleet,
  pushRound,
  STREAMS_PER_CONNECTION,
  type Group,
} from './fleet.ts';
import type { Scene } from './scene.ts';
import { pushFigures } from './shared-change.ts';

/** How often all are changed, and how often where there are 10,000. */
const SIZES = {
  full: { rounds: 20, large: 2 },
  quick: { rounds: 1, large: 2 },
};

/** Entries of each process, where a process is a caller. */
const EACH = 20;

/** More processes than this are more than the machine has memory for, and take longer to start than all the rest. */
const MAX_PROCESSES = 50;

/** Any that no account has. */
const FIRST_GID = 2_000_000;

const isRoot = (): boolean => process.getuid?.() === 0;

/** The processes that the callers need. */
export function distinctProcesses(size: Size): number {
  if (isRoot()) return 1;
  return size === 'full' ? MAX_PROCESSES : 1;
}

interface Identity {
  readonly entryId: string;
  readonly spiffeId: string;
  readonly selectors: readonly string[];
}

export interface Callers {
  readonly groups: readonly Group[];
  readonly entries: readonly Identity[];
  readonly count: number;
}

/** From one import that changes N entries to the last of N streams having the new SVID of its own entry. */
export async function measureDistinctChanges(scene: Scene): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const [name, streams] of COUNTS[scene.context.size]) {
    if (!isRoot() && streams > MAX_PROCESSES * EACH) continue;
    const callers = distinctCallers(scene, streams);
    figures.push(...(await changeAll(scene, name, callers)));
  }
  return figures;
}

async function changeAll(scene: Scene, name: number, { groups, entries, count }: Callers): Promise<readonly Figure[]> {
  const { rounds: most, large } = SIZES[scene.context.size];
  const rounds = name === LARGE ? large : most;
  scene.context.progress(`${entries.length} entries of ${count} callers changed at once, ${rounds} times`);
  const { admin } = scene;
  await admin.call('importEntries', { entries, mode: IMPORT_MODE.replace });
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
  const what = `${entries.length} entries of ${count} callers changed by one import until all are signed and the last has arrived`;
  return pushFigures(`distinct_${name}`, { own, floor, what });
}

/** Streams that each ask for an entry of its own, and these entries. */
export function distinctCallers(scene: Pick<Scene, 'callers'>, streams: number): Callers {
  return isRoot() ? callersByGroup(scene, streams) : callersByProcess(scene, streams);
}

/** A caller is a connection made with a group of its own: thousands of workloads without as many processes. */
function callersByGroup({ callers }: Pick<Scene, 'callers'>, streams: number): Callers {
  const [client] = callers;
  if (client === undefined) throw new Error('there is no caller');
  const count = Math.ceil(streams / STREAMS_PER_CONNECTION);
  const gids = Array.from({ length: count }, (_, caller) => FIRST_GID + caller);
  const entries = Array.from({ length: streams }, (_, index) =>
    identityOf(index, [OWN_SELECTOR, `unix:gid:${gids[Math.floor(index / STREAMS_PER_CONNECTION)]}`]),
  );
  const connections = connectionsOf(entries.map(({ spiffeId }) => spiffeId));
  return { groups: [{ worker: client.worker, connections, gids }], entries, count };
}

/** A caller is a process. */
function callersByProcess({ callers }: Pick<Scene, 'callers'>, streams: number): Callers {
  const count = Math.ceil(streams / EACH);
  const sets = callers.slice(0, count).map(({ worker, selectors }, caller) => {
    const length = Math.min(EACH, streams - caller * EACH);
    return { worker, entries: Array.from({ length }, (_, index) => identityOf(caller * EACH + index, selectors)) };
  });
  const groups = sets.map(({ worker, entries }) => ({
    worker,
    connections: connectionsOf(entries.map(({ spiffeId }) => spiffeId)),
  }));
  return { groups, entries: sets.flatMap(({ entries }) => entries), count };
}

function identityOf(index: number, selectors: readonly string[]): Identity {
  return { entryId: `distinct-${index}`, spiffeId: `spiffe://${TRUST_DOMAIN}/distinct/${index}`, selectors };
}
