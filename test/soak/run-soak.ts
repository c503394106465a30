import { realpathSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { linkEnvoy } from '../support/envoy.ts';
import { connect } from '../support/grpc-client.ts';
import { cliOf } from '../support/run-cli.ts';
import { OWN_SELECTOR } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';
import { connectWorkload } from '../support/workload-client.ts';
import { entryIdOf, runChanges } from './changes.ts';
import { Findings } from './findings.ts';
import { runGuests } from './guests.ts';
import { startHolder, type Holder } from './holders.ts';
import { readLog } from './log-lines.ts';
import type { Rules, World } from './model.ts';
import { seededRandom } from './random.ts';
import { pauseUnless, type Scene } from './scene.ts';
import { startSoakEnvoy } from './soak-envoy.ts';
import { firstPolicy, peerId, secondPolicy, TRUST_DOMAIN } from './soak-policies.ts';
import { startSoakServer, writeSoakConfig, type SoakServer, type Vitals } from './soak-server.ts';
import { Timeline } from './timeline.ts';
import { runTokens } from './tokens.ts';
import { runAnonymous, runPeer, type HeldToken } from './traffic.ts';
import { growthOf, problemsOf, type Growth } from './verdict.ts';

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Told of the state now and then. */
  readonly progress: (state: string) => void;
}

export interface SoakResult {
  readonly seconds: number;
  readonly seed: number;
  readonly requests: number;
  readonly wrong: number;
  readonly counts: ReadonlyMap<string, number>;
  /** In the order of time. */
  readonly vitals: readonly Vitals[];
  readonly growth: Growth;
  /** What is not as it must be. */
  readonly problems: readonly string[];
}

const PEERS = 6;
const CLIENTS_EACH = 2;
const ANONYMOUS = 2;
const CHANGE_PAUSE_MS = 500;
const PROGRESS_MS = 60_000;
const LEAST_SAMPLE_MS = 5000;
const SAMPLES = 60;

/** Mixed traffic through a real Envoy while all that can change changes; each answer is checked against the model. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  await using folder = await tempFolder();
  const { path } = folder;
  const rules: Rules = { generation: 1, members: [0, 1, 2, 3], limit: 100 };
  const world: World = {
    first: new Timeline(rules),
    second: new Timeline(rules),
    peers: Array.from({ length: PEERS }, () => ({ isRegistered: new Timeline(true), isRevoked: new Timeline(false) })),
    serials: new Map(),
  };
  const selectors = [OWN_SELECTOR, `unix:path:${realpathSync('/proc/self/exe')}`];
  const writeEntries = entriesWriter(path, [OWN_SELECTOR, `unix:path:${await linkEnvoy(path, 'envoy-soak')}`]);
  await prepareFolder(path, rules);
  await writeEntries(0);
  await using server = await startSoakServer(path);
  const cli = cliOf({ folder: path });
  for (let peer = 0; peer < PEERS; peer += 1) {
    const wanted = selectors.flatMap((selector) => ['--selector', selector]);
    await cli.text('entry', 'create', '--entry-id', entryIdOf(peer), '--spiffe-id', peerId(peer), ...wanted);
  }
  await using envoy = await startSoakEnvoy(path);
  const socket = `unix:${join(path, 'api.sock')}`;
  using sds = connect(socket);
  using workload = connectWorkload(socket);
  const over = new AbortController();
  const scene: Scene = {
    folder: path,
    socket,
    envoy,
    cli,
    sds,
    workload,
    world,
    findings: new Findings(),
    random: seededRandom(options.seed),
    over: over.signal,
  };
  const vitals = await soak(scene, { server, over, options, selectors, writeEntries });
  return await resultOf(scene, { server, vitals, options });
}

interface Setting {
  readonly server: SoakServer;
  readonly over: AbortController;
  readonly options: SoakOptions;
  readonly selectors: readonly string[];
  readonly writeEntries: (extra: number) => Promise<number>;
}

async function soak(scene: Scene, setting: Setting): Promise<readonly Vitals[]> {
  const { server, over, options, selectors, writeEntries } = setting;
  const holders = scene.world.peers.map((_, peer) => startHolder(scene, peer));
  await waitUntil('every peer to hold its SVID', 30_000, () => holders.every(({ identity }) => identity !== undefined));
  const tokens: HeldToken[] = [];
  const vitals: Vitals[] = [];
  const timer = setTimeout(() => over.abort(), options.seconds * 1000);
  const parts = [
    ...holders.flatMap((holder: Holder) => Array.from({ length: CLIENTS_EACH }, () => runPeer(scene, holder, tokens))),
    ...Array.from({ length: ANONYMOUS }, () => runAnonymous(scene, tokens)),
    runTokens(scene, tokens),
    runGuests(scene),
    runChanges({ scene, holders, selectors, writeEntries }, CHANGE_PAUSE_MS),
    watchVitals(scene, { server, options, vitals }),
    endWith(server, over),
    ...holders.map(({ done }) => done),
  ];
  // The first failure ends all of them, and is the one that is told.
  for (const part of parts) part.catch(() => over.abort());
  const outcomes = await Promise.allSettled(parts);
  clearTimeout(timer);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return vitals;
}

/** Rejects when the server ends before the time is up. */
async function endWith({ child }: SoakServer, { signal }: AbortController): Promise<void> {
  const isOver = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined)));
  const exit = await Promise.race([isOver, child.exited]);
  if (exit !== undefined)
    throw new Error(`svidgate ended with ${exit.code ?? exit.signal}: ${child.log().slice(-2000)}`);
}

async function watchVitals(
  { over, findings }: Scene,
  { server, options, vitals }: { server: SoakServer; options: SoakOptions; vitals: Vitals[] },
): Promise<void> {
  const everyMs = Math.max(LEAST_SAMPLE_MS, (options.seconds * 1000) / SAMPLES);
  const begin = performance.now();
  let toldAt = begin;
  while (!over.aborted) {
    const seen = await server.vitals();
    vitals.push(seen);
    if (performance.now() - toldAt >= PROGRESS_MS) {
      toldAt = performance.now();
      options.progress(
        `${Math.round((toldAt - begin) / 60_000)} min  ${findings.requests} requests  ${findings.wrong} wrong  ` +
          `${findings.sumOf('change:')} changes  ${describeVitals(seen)}`,
      );
    }
    await pauseUnless(over, everyMs);
  }
  vitals.push(await server.vitals());
}

export function describeVitals({ heapMb, residentMb, descriptors, threads, logBytes }: Vitals): string {
  return (
    `heap ${heapMb.toFixed(1)} MB  resident ${residentMb.toFixed(0)} MB  ${descriptors} descriptors  ` +
    `${threads} threads  log ${(logBytes / 1e6).toFixed(1)} MB`
  );
}

async function resultOf(
  { findings }: Scene,
  { server, vitals, options }: { server: SoakServer; vitals: readonly Vitals[]; options: SoakOptions },
): Promise<SoakResult> {
  const exit = await server.stop();
  const log = await readLog(server.child.logFile);
  const problems = [...problemsOf({ findings, vitals, log })];
  if (exit.code !== 0) problems.push(`svidgate ended with ${exit.code ?? exit.signal}`);
  return {
    seconds: options.seconds,
    seed: options.seed,
    requests: findings.requests,
    wrong: findings.wrong,
    counts: findings.counts,
    vitals,
    growth: growthOf(vitals),
    problems,
  };
}

async function prepareFolder(path: string, rules: Rules): Promise<void> {
  await Promise.all(['first', 'second'].map((name) => mkdir(join(path, name))));
  await writeFile(join(path, 'first/authz.rego'), firstPolicy(rules));
  await writeFile(join(path, 'second/second.rego'), secondPolicy(rules));
  await writeSoakConfig(path, TRUST_DOMAIN);
}

/** Writes the file with the Envoy's entry and some more that nobody uses; gives how many more. */
function entriesWriter(path: string, selectors: readonly string[]): (extra: number) => Promise<number> {
  return async (extra) => {
    const entries = [
      { spiffe_id: `spiffe://${TRUST_DOMAIN}/envoy`, selectors },
      ...Array.from({ length: extra }, (_, index) => ({
        spiffe_id: `spiffe://${TRUST_DOMAIN}/unused/${index}`,
        selectors: [`unix:uid:4000000${index}`],
      })),
    ];
    const file = join(path, 'entries.yaml');
    await writeFile(`${file}.new`, JSON.stringify({ entries }));
    await rename(`${file}.new`, file);
    return extra;
  };
}
