import { cpus } from 'node:os';
import { directFigures, IN_FLIGHT, type Pace } from './authz/direct.ts';
import { startLoadClient } from './authz/load.ts';
import { startPeers } from './authz/peers.ts';
import { scenarios } from './authz/scenarios.ts';
import { envoyFigures } from './authz/through-envoy.ts';
import type { AimedAt, Benchmark, BenchmarkContext, Figure } from './benchmark.ts';

const SIZES = {
  full: { rounds: 5, roundMs: 900, warmUpMs: 2000, warmUpCount: 15_000 },
  quick: { rounds: 1, roundMs: 50, warmUpMs: 50, warmUpCount: 1 },
};

const AIMS: readonly AimedAt[] = [
  { name: 'small_vs_opa_at_32', bound: 'at least', aim: 2 },
  ...IN_FLIGHT.map((level): AimedAt => ({ name: `small_p99_vs_opa_at_${level}`, bound: 'at most', aim: 1 })),
  { name: 'rules_vs_opa_at_32', bound: 'at least', aim: 1 },
  { name: 'data_vs_opa_at_32', bound: 'at least', aim: 1 },
];

export const authz: Benchmark = {
  name: 'authz',
  summary: 'ext_authz decisions a second and their latency, beside OPA, directly and through Envoy',
  method:
    'Beside svidgate stands `bench/peers/opa-ext-authz`: OPA itself as a Go module, on grpc-go, with the contract of ' +
    'opa-envoy-plugin and nothing beyond it, no decision log and no metrics. Each server is a process that all its threads ' +
    'share one processor in (`taskset`, `GOMAXPROCS=1`), and has a Unix socket; the load comes over one connection from a Go ' +
    'program on the other processor, in rounds that take turns. Both have the same policy and get the same requests, with ' +
    'a path that no other has, and every answer must be an allow. `small` walks tables of roles; `rules` has 1,000 ' +
    "rules of the form that OPA's index of rules finds at once, of which each request meets another; `data` looks one of " +
    '70,000 users up; `patterns` matches a glob and a regular expression. The values that `rules` and `data` look at come ' +
    'again, so svidgate has decided most of them before (docs/decisions/0014); those of `small` and `patterns` it evaluates all. Through Envoy, which shares the processor of the load, the policy is `small`, and Envoy answers itself.',
  notes:
    'Twice the decisions of OPA are not reached. An empty call costs the gate a third of a check on `small` (see transport); of ' +
    'the rest, decoding the request, encoding input and reply, and garbage collection are the largest parts. What brought it ' +
    'here: gRPC straight on node:http2, an input of what the policy can look at, decisions made before, one message to the ' +
    'evaluation thread for what comes together. With one request in flight each decision pays for two changes of thread on a ' +
    'processor that both share, which is where the higher latency comes from. `patterns` is slower than OPA: its builtins are ' +
    "OPA's own code under WebAssembly. Tried and not kept: a young generation of 32 MB instead of 8 takes a sixth of the " +
    'processor time off `small` at 32 in flight, and adds some 40 MB with a thousand streams; a garbage collector of one ' +
    'thread takes as much off, and stops the server for longer where the heap is large. Of the memory after the load some ' +
    '190 MB are pages of the JavaScript heaps of the main thread and of two evaluation threads, 50 MB native memory, 80 MB ' +
    'buffers and WASM, 50 MB the program itself; 50 MB more are machine code of the Rego compiler, which go a minute after ' +
    'the last compilation.',
  aims: AIMS,
  run,
};

async function run({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  if (cpus().length < 2) throw new Error('needs two processors: one for the servers, one for the load');
  const pace: Pace = SIZES[size];
  progress('building the Go programs, which takes minutes the first time');
  await using client = await startLoadClient();
  const figures: Figure[] = [];
  for (const scenario of scenarios(size)) {
    progress(`${scenario.name}: starting svidgate and OPA`);
    await using peers = await startPeers(scenario);
    figures.push(...(await directFigures(scenario, { peers, client, pace, progress })));
    if (scenario.name === 'small') figures.push(...(await envoyFigures({ peers, client, pace, progress })));
  }
  return figures;
}
