import { setTimeout as pause } from 'node:timers/promises';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { startLoadClient, type LoadRound } from '../authz/load.ts';
import { fetchPeerIdentity } from '../parts/identity.ts';
import { cpuMsOf } from '../parts/process-usage.ts';
import { interleaved, median, medianRatio } from '../statistics.ts';
import { LISTENERS, requestOf, type Listener } from './listeners.ts';
import { rowsOf } from './policy.ts';
import { CORES, openScene, type Scene } from './scene.ts';

const SIZES = {
  full: { rounds: 9, roundMs: 1500, warmUpMs: 3000 },
  quick: { rounds: 1, roundMs: 100, warmUpMs: 100 },
};

const CONNECTIONS = 32;
/** Envoy sends what it has every 200 ms. */
const RECORDED_WITHIN_MS = 1500;
const ROWS = 20;

interface Measured extends LoadRound {
  /** Processor time for one request. */
  readonly envoyUs: number;
  readonly gateUs: number;
}

/** The same requests over mTLS through each listener in turn. */
export async function requestFigures({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rounds, roundMs, warmUpMs } = SIZES[size];
  progress('building the Go programs, which takes minutes the first time');
  await using client = await startLoadClient(CORES.others);
  const rows = rowsOf(ROWS);
  progress('starting svidgate, OPA and Envoy');
  await using scene = await openScene(rows);
  const { certificateChain: chain, privateKey: key } = await fetchPeerIdentity(scene.server.sds);
  const messages = [requestOf(rows)];
  const measure = async (listener: Listener, forMs: number): Promise<Measured> => {
    const before = await usageOf(scene, listener);
    const load = { protocol: 'http', messages, inFlight: CONNECTIONS, forMs, tls: { chain, key } } as const;
    const round = await client.round({ ...load, address: scene.envoy.at(listener) });
    const after = await usageOf(scene, listener);
    const each = (part: 'envoy' | 'gate'): number => ((after[part] - before[part]) * 1000) / round.count;
    return { ...round, envoyUs: each('envoy'), gateUs: each('gate') };
  };
  progress('warming up');
  for (const listener of LISTENERS) await measure(listener, warmUpMs);
  const asked = await recordsOf(scene);
  progress(`${rounds} rounds on ${CONNECTIONS} connections, ${LISTENERS.join(', ')} in turn`);
  const measured = await interleaved(rounds, {
    plain: () => measure('plain', roundMs),
    native: () => measure('native', roundMs),
    offloaded: () => measure('offloaded', roundMs),
    call: () => measure('call', roundMs),
    opa: () => measure('opa', roundMs),
  });
  const rates = (listener: Listener): readonly number[] => measured[listener].map(({ perSecond }) => perSecond);
  const ratio = (name: string, beside: Listener, meaning: string): Figure => ({
    name,
    value: medianRatio(rates('offloaded'), rates(beside)),
    meaning: `requests offloaded for each ${meaning}`,
  });
  return [
    ...LISTENERS.flatMap((listener) => figuresOf(listener, measured[listener])),
    ratio('offloaded_vs_native', 'native', 'by rules written by hand'),
    ratio('offloaded_vs_call', 'call', 'asked of svidgate'),
    ratio('offloaded_vs_opa', 'opa', 'asked of OPA'),
    await withoutCall(scene, asked),
  ];
}

/** Also shows that the listeners do what they are named for. */
async function withoutCall({ server, envoy }: Scene, before: Records): Promise<Figure> {
  const after = await recordsOf({ server, envoy });
  const allowed = after.allowed - before.allowed;
  const asked = after.asked - before.asked;
  if (allowed === 0 || asked !== 0) throw new Error(`of the offloaded requests ${asked} were asked of the gate`);
  return {
    name: 'offloaded_recorded_share',
    value: (after.recorded - before.recorded) / allowed,
    meaning:
      'of the offloaded requests: those that are in the decision log; Envoy drops what svidgate cannot take in time',
  };
}

interface Records {
  /** Marked by the rules of Envoy. */
  readonly allowed: number;
  /** Asked of the gate, of those through the offloaded listener. */
  readonly asked: number;
  /** Of the requests that Envoy answered by itself. */
  readonly recorded: number;
}

async function recordsOf({ server, envoy }: Pick<Scene, 'server' | 'envoy'>): Promise<Records> {
  await pause(RECORDED_WITHIN_MS);
  const stats = JSON.parse(await envoy.envoy.admin('/stats?format=json&filter=http\\.offloaded\\.')) as {
    readonly stats: readonly { readonly name?: string; readonly value?: number }[];
  };
  const sum = (pattern: RegExp): number =>
    stats.stats.filter(({ name = '' }) => pattern.test(name)).reduce((total, { value = 0 }) => total + value, 0);
  return {
    allowed: sum(/svidgate_default_.*shadow_allowed$/),
    asked: sum(/ext_authz\.(ok|denied|error)$/),
    recorded: await server.process.metric('svidgate_offload_log_entries_total{result="recorded"}'),
  };
}

async function usageOf(scene: Scene, listener: Listener): Promise<{ readonly envoy: number; readonly gate: number }> {
  const gate = listener === 'opa' ? scene.opaPid : (scene.server.process.child?.pid ?? -1);
  return { envoy: await cpuMsOf(scene.envoy.envoy.pid), gate: await cpuMsOf(gate) };
}

const WHO: Readonly<Record<Listener, string>> = {
  plain: 'Envoy alone',
  native: 'RBAC written by hand',
  offloaded: 'offloaded',
  call: 'asking svidgate',
  opa: 'asking OPA',
};

function figuresOf(listener: Listener, rounds: readonly Measured[]): readonly Figure[] {
  const figure = (part: string, of: (round: Measured) => number, meaning: string): Figure => ({
    name: `${listener}_${part}`,
    value: median(rounds.map(of)),
    meaning: `${WHO[listener]}: ${meaning}`,
  });
  return [
    figure('per_second', (round) => round.perSecond, 'requests a second'),
    figure('p50_ms', (round) => round.p50Ms, 'median'),
    figure('p99_ms', (round) => round.p99Ms, '99th percentile'),
    figure('envoy_cpu_us', (round) => round.envoyUs, 'processor time of Envoy for one'),
    figure(
      'gate_cpu_us',
      (round) => round.gateUs,
      `processor time of ${listener === 'opa' ? 'OPA' : 'svidgate'} for one`,
    ),
  ];
}
