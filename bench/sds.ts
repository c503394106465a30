import { setTimeout as pause } from 'node:timers/promises';
import { waitUntil } from '../test/support/wait-until.ts';
import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import { linkNode } from './parts/bench-folder.ts';
import { createBenchServer, OWN_SELECTOR, TRUST_DOMAIN, type BenchServer, type Entry } from './parts/bench-server.ts';
import { sharedClockMs } from './parts/measure.ts';
import type { FirstServed, Push, SdsJobs } from './parts/sds-worker.ts';
import { startWorker, type Worker } from './parts/worker.ts';
import { median, percentile } from './statistics.ts';

/**
 * `envoys` is the number in each of the two groups; each has two streams. `settleMs` lets the executables grow as old as
 * they are in practice: attestation remembers the digest only of a file that nobody touched for 2 s.
 */
const SIZES = {
  full: { envoys: 50, edits: 15, rotations: 3, settleMs: 2500 },
  quick: { envoys: 2, edits: 2, rotations: 1, settleMs: 0 },
};

/** Lives of SVIDs while rotations are watched: half of it passes between two of them. */
const ROTATING_TTL = '4s';
const PUSHED_WITHIN_MS = 15_000;

/** How long nothing may come before it counts as not pushed: far more than a needed push takes. */
const QUIET_MS = 400;

export const sds: Benchmark = {
  name: 'sds',
  summary: 'streams on the SDS socket: first secrets, push of an edit and of a rotation, and what is not pushed',
  method:
    'The server is a process of its own; two client processes with different executables stand for two groups of 50 ' +
    'Envoys, each Envoy a connection with a stream for its certificate and one for the trust bundle: 200 streams, each ' +
    'attested, with one reading of the 120 MB executable among them. The entry of one group is edited again and again, by an atomic replacement of the file, then its SVIDs ' +
    'rotate; whatever reaches the other group, or a bundle stream, is a push that nobody needed. An edit waits 50 ms ' +
    'for further events of the same file before it is read.',
  run,
};

interface Group {
  readonly worker: Worker<SdsJobs>;
  readonly selectors: readonly string[];
}

/** What the steps have in common. */
interface Scene {
  readonly server: BenchServer;
  readonly envoys: number;
  readonly edited: Group;
  readonly untouched: Group;
  /** Pushes that were not needed, so far. */
  unneeded: number;
}

async function run({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { envoys, edits, rotations, settleMs } = SIZES[size];
  await using server = await createBenchServer({ gate: false });
  const [editedNode, untouchedNode] = await Promise.all(
    ['edited', 'untouched'].map((name) => linkNode(server.folder, name)),
  );
  await pause(settleMs);
  await using editedWorker = startWorker<SdsJobs>('sds-worker.ts', editedNode);
  await using untouchedWorker = startWorker<SdsJobs>('sds-worker.ts', untouchedNode);
  const scene: Scene = {
    server,
    envoys,
    edited: { worker: editedWorker, selectors: [OWN_SELECTOR, `unix:path:${editedNode}`] },
    untouched: { worker: untouchedWorker, selectors: [OWN_SELECTOR, `unix:path:${untouchedNode}`] },
    unneeded: 0,
  };
  await server.writeEntries(entries(scene, { spiffe_id: `spiffe://${TRUST_DOMAIN}/edited-0` }));
  await server.process.start();
  progress(`${envoys * 4} streams, all at once`);
  const first = await openAll(scene);
  progress(`${edits} edits of the entry of one group`);
  const edit = await editAgainAndAgain(scene, edits);
  progress('an edit that changes nothing');
  const needless = await editNothing(scene, edits);
  progress(`${rotations} rotations, one every 2 s`);
  const rotation = await watchRotations(scene, { rotations, number: edits });
  return figuresOf({ scene, first, edit, needless, rotation });
}

function entries({ edited, untouched }: Scene, entry: Omit<Entry, 'selectors'>): readonly Entry[] {
  return [
    { ...entry, selectors: edited.selectors },
    { spiffe_id: `spiffe://${TRUST_DOMAIN}/untouched`, selectors: untouched.selectors },
  ];
}

/** Milliseconds from the start of the first stream to the first secret of each. */
async function openAll({ server, envoys, edited, untouched }: Scene): Promise<readonly number[]> {
  const served = await Promise.all(
    [edited, untouched].map(({ worker }): Promise<FirstServed> => worker.ask('open', { address: server.sds, envoys })),
  );
  const beganAt = Math.min(...served.map((group) => group.beganAt));
  return served.flatMap((group) => group.servedAt.map((at) => at - beganAt));
}

/** Milliseconds from the edit to the push on each certificate stream of the group, edit by edit. */
async function editAgainAndAgain(scene: Scene, edits: number): Promise<readonly (readonly number[])[]> {
  const latencies: (readonly number[])[] = [];
  for (let edit = 1; edit <= edits; edit += 1) {
    const beganAt = sharedClockMs();
    await scene.server.writeEntries(entries(scene, { spiffe_id: `spiffe://${TRUST_DOMAIN}/edited-${edit}` }));
    const pushes = await neededPushes(scene, scene.envoys);
    latencies.push(pushes.map(({ at }) => at - beganAt));
  }
  await countRest(scene);
  return latencies;
}

/** Rewrites the same entries with another comment. How many pushes that brought. */
async function editNothing(scene: Scene, last: number): Promise<number> {
  const same = entries(scene, { spiffe_id: `spiffe://${TRUST_DOMAIN}/edited-${last}` });
  await scene.server.writeEntries(same, 'the same entries under another comment');
  await pause(QUIET_MS);
  const before = scene.unneeded;
  const pushes = await neededPushes(scene, 0);
  scene.unneeded += pushes.length;
  return scene.unneeded - before;
}

/** Milliseconds from the signature to the push on the last stream, rotation by rotation. */
async function watchRotations(
  scene: Scene,
  { rotations, number }: { readonly rotations: number; readonly number: number },
): Promise<readonly number[]> {
  const spiffeId = `spiffe://${TRUST_DOMAIN}/edited-${number + 1}`;
  await scene.server.writeEntries(entries(scene, { spiffe_id: spiffeId, x509_svid_ttl: ROTATING_TTL }));
  await neededPushes(scene, scene.envoys); // the edit itself
  const latencies: number[] = [];
  for (let rotation = 0; rotation < rotations; rotation += 1) {
    const pushes = await neededPushes(scene, scene.envoys);
    const [from, to] = [Math.min(...pushes.map(({ at }) => at)), Math.max(...pushes.map(({ at }) => at))];
    latencies.push(to - signedBefore(scene.server, spiffeId, from));
  }
  await countRest(scene);
  return latencies;
}

/** When the newest SVID that reached a stream at `pushedAt` was signed, as the log says; both by sharedClockMs(). */
function signedBefore(server: BenchServer, spiffeId: string, pushedAt: number): number {
  const offset = performance.timeOrigin + performance.now() - sharedClockMs();
  const lines = server.process.child?.log().trimEnd().split('\n') ?? [];
  const times = lines
    .filter((line) => line.includes('"x509-svid issued"') && line.includes(`"${spiffeId}"`))
    .map((line) => Date.parse((JSON.parse(line) as { readonly time: string }).time) - offset);
  return Math.max(...times.filter((time) => time <= pushedAt));
}

/** Waits for so many pushes on certificate streams of the edited group, and counts all others as not needed. */
async function neededPushes(scene: Scene, count: number): Promise<readonly Push[]> {
  const needed: Push[] = [];
  await waitUntil(`${count} pushes`, PUSHED_WITHIN_MS, async () => {
    const pushes = await scene.edited.worker.ask('take', undefined);
    needed.push(...pushes.filter(({ kind }) => kind === 'certificate'));
    scene.unneeded += pushes.filter(({ kind }) => kind !== 'certificate').length;
    return needed.length >= count;
  });
  scene.unneeded += (await scene.untouched.worker.ask('take', undefined)).length;
  return needed;
}

/** What comes when nothing should. A rotation that is due anyway is none of it. */
async function countRest(scene: Scene): Promise<void> {
  await pause(QUIET_MS);
  await neededPushes(scene, 0);
}

function figuresOf(measured: {
  readonly scene: Scene;
  readonly first: readonly number[];
  readonly edit: readonly (readonly number[])[];
  readonly needless: number;
  readonly rotation: readonly number[];
}): readonly Figure[] {
  const { scene, first, edit, needless, rotation } = measured;
  const all = edit.flat();
  const last = edit.map((latencies) => Math.max(...latencies));
  return [
    { name: 'streams', value: first.length, meaning: 'open at once' },
    { name: 'first_secret_p50_ms', value: median(first), meaning: 'all streams opened at once: first secret, median' },
    { name: 'first_secret_last_ms', value: Math.max(...first), meaning: 'the same, on the last stream' },
    {
      name: 'edit_to_push_p50_ms',
      value: median(all),
      meaning: 'entry edited until the push arrives, median of streams',
    },
    { name: 'edit_to_push_p99_ms', value: percentile(all, 0.99), meaning: 'the same, 99th percentile' },
    { name: 'edit_to_last_push_p50_ms', value: median(last), meaning: 'until the last stream has it, median of edits' },
    {
      name: 'rotation_to_last_push_p50_ms',
      value: median(rotation),
      meaning: 'SVID signed until the last stream has it, median of rotations, to 1 ms',
    },
    { name: 'pushes_by_same_entries', value: needless, meaning: 'entries file rewritten with the same entries' },
    {
      name: 'pushes_not_needed',
      value: scene.unneeded,
      meaning: 'in the whole run: to the other group, and on bundle streams',
    },
  ];
}
