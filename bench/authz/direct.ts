import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { cpuMsOf, residentMbOf } from '../parts/process-usage.ts';
import { interleaved, median, medianRatio } from '../statistics.ts';
import type { LoadClient, LoadRound } from './load.ts';
import type { Peer, Peers } from './peers.ts';
import type { Scenario } from './scenarios.ts';

export interface Pace {
  readonly rounds: number;
  readonly roundMs: number;
  readonly warmUpMs: number;
  readonly warmUpCount: number;
}

const MAX_WARM_UP_LAPS = 5;

export const IN_FLIGHT = [1, 8, 32, 128] as const;

interface Measured extends LoadRound {
  /** Processor time of the server for one decision. */
  readonly cpuUs: number;
}

/** Both servers in turn, at each number of requests in flight. */
export async function directFigures(
  scenario: Scenario,
  { peers, client, pace, progress }: DirectOptions,
): Promise<readonly Figure[]> {
  const messages = scenario.requests();
  const measure = async (peer: Peer, inFlight: number, forMs: number): Promise<Measured> => {
    const before = await cpuMsOf(peer.pid);
    const round = await client.round({ protocol: 'grpc', address: peer.address, messages, inFlight, forMs });
    const cpuMs = (await cpuMsOf(peer.pid)) - before;
    return { ...round, cpuUs: (Math.max(cpuMs, 10) * 1000) / round.count };
  };
  progress(`${scenario.name}: warming up`);
  for (const peer of [peers.svidgate, peers.opa]) {
    // By what was asked, too: code is made native by its use, and a busy machine uses it less.
    for (let asked = 0, laps = 0; asked < pace.warmUpCount && laps < MAX_WARM_UP_LAPS; laps += 1) {
      asked += (await measure(peer, 32, pace.warmUpMs)).count;
    }
  }
  const figures: Figure[] = [];
  for (const inFlight of IN_FLIGHT) {
    progress(`${scenario.name}: ${pace.rounds} rounds with ${inFlight} in flight, svidgate and OPA in turn`);
    const rounds = await interleaved(pace.rounds, {
      svidgate: () => measure(peers.svidgate, inFlight, pace.roundMs),
      opa: () => measure(peers.opa, inFlight, pace.roundMs),
    });
    figures.push(...levelFigures(scenario, inFlight, rounds));
  }
  const memory = async (peer: Peer): Promise<number> => residentMbOf(peer.pid);
  return [
    ...figures,
    {
      name: `${scenario.name}_svidgate_mb`,
      value: await memory(peers.svidgate),
      meaning: 'resident after it: svidgate',
    },
    { name: `${scenario.name}_opa_mb`, value: await memory(peers.opa), meaning: 'resident after it: OPA' },
  ];
}

interface DirectOptions extends Pick<BenchmarkContext, 'progress'> {
  readonly peers: Peers;
  readonly client: LoadClient;
  readonly pace: Pace;
}

interface Rounds {
  readonly svidgate: readonly Measured[];
  readonly opa: readonly Measured[];
}

function levelFigures(scenario: Scenario, inFlight: number, { svidgate, opa }: Rounds): readonly Figure[] {
  const { name, what } = scenario;
  const level = `${what}, ${inFlight} in flight`;
  const side = (server: string, rounds: readonly Measured[]): readonly Figure[] => {
    const figure = (part: string, of: (round: Measured) => number, meaning: string): Figure => ({
      name: `${name}_${server}_${part}_at_${inFlight}`,
      value: median(rounds.map(of)),
      meaning: `${level}: ${meaning}`,
    });
    return [
      figure('per_second', (round) => round.perSecond, 'decisions a second'),
      figure('cpu_us', (round) => round.cpuUs, 'processor time of the server for one'),
      figure('p50_ms', (round) => round.p50Ms, 'median'),
      figure('p99_ms', (round) => round.p99Ms, '99th percentile'),
      figure('p999_ms', (round) => round.p999Ms, '99.9th percentile'),
    ];
  };
  const ratio = (part: string, of: (round: Measured) => number, meaning: string): Figure => ({
    name: `${name}_${part}_at_${inFlight}`,
    value: medianRatio(svidgate.map(of), opa.map(of)),
    meaning: `${level}: ${meaning}`,
  });
  return [
    ...side('svidgate', svidgate),
    ...side('opa', opa),
    ratio('vs_opa', (round) => round.perSecond, 'decisions of svidgate for each of OPA'),
    ratio('cpu_vs_opa', (round) => 1 / round.cpuUs, 'decisions of svidgate for each of OPA in the same processor time'),
    ratio('p99_vs_opa', (round) => round.p99Ms, "svidgate's 99th percentile over OPA's"),
  ];
}
