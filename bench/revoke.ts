import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import type { HttpJobs } from './parts/http-worker.ts';
import { fetchPeerIdentity } from './parts/identity.ts';
import { medianLatencyMs, medianPerSecond, type Round as LoadRound } from './parts/measure.ts';
import { startWorker } from './parts/worker.ts';
import { MEANS, takeAway, type Means, type Round } from './revoke/rounds.ts';
import { openScene, SIZES, type Scene } from './revoke/scene.ts';
import { median, percentile } from './statistics.ts';

const LIMIT_MS = 50;
const LOAD = { concurrency: 16, full: 1000, quick: 50 };

export const revoke: Benchmark = {
  name: 'revoke',
  summary: 'from taking an identity away to the first deny on its open connections, through Envoy and under load',
  method: [
    'The server is a process of its own with the shipped Rego, `deny_unregistered: true` and `eval_timeout: 1s`. 1,000 identities are connected to ' +
      'it, five by the SDS streams of a connection, which has the trust bundle, too, as those of an Envoy do. A real Envoy ' +
      'asks the gate about each request and passes on the certificate of the peer. 16 connections of a service that ' +
      'nobody revokes send through it as fast as they are answered, each of which must be an allow. Server, Envoy and clients share the cores.',
    'A round: one of 20 other services, which hold their SVIDs by SDS, sends again and again on two connections that it ' +
      'has had open from the beginning; its identity is taken away by one call of the admin API, which audits it and ' +
      'commits it to disk; the time goes from just before the call to the arrival of the first deny at the service. ' +
      'Then it gets its identity back. `command` runs the program instead, and counts from its start. A request that the ' +
      'service sent after the call had answered, and that was allowed, is one too many.',
  ].join('\n\n'),
  aims: [
    { name: 'serial_p99_ms', bound: 'at most', aim: LIMIT_MS },
    { name: 'spiffe_id_p99_ms', bound: 'at most', aim: LIMIT_MS },
    { name: 'entry_p99_ms', bound: 'at most', aim: LIMIT_MS },
    { name: 'allowed_after_answer', bound: 'at most', aim: 0 },
  ],
  notes:
    'Where the time goes, by profiles of the server (`node --cpu-prof`): the audit line and the commit to disk, and the ' +
    'queue of requests of the load. A revoked serial also changes the revocation list, so that the bundle is pushed to all ' +
    '200 connections, and its holder gets another SVID; both come after the revocation is in force, and share the core with ' +
    'the requests of that moment. What profiles have changed so far: callers whom a revocation is not about are not looked at; ' +
    'a certificate that was verified before is not read again to see whether it is revoked, and not verified again because ' +
    'a list has changed.',
  run,
};

async function run(context: BenchmarkContext): Promise<readonly Figure[]> {
  await using scene = await openScene(context);
  await using load = startLoad(scene, await fetchPeerIdentity(scene.server.sds));
  const figures: Figure[] = [];
  const rounds: Round[] = [];
  for (const means of MEANS) {
    const own = await load.while(() => takeAway(scene, means));
    rounds.push(...own);
    figures.push(...figuresOf(means, own));
  }
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  return [
    ...figures,
    { name: 'connected_identities', value: SIZES[context.size].others, meaning: 'others with open SDS streams' },
    ...load.figures(),
    {
      name: 'sent_after_answer',
      value: sum(rounds.map((r) => r.sentAfter)),
      meaning: 'requests sent after the call had answered',
    },
    { name: 'allowed_after_answer', value: sum(rounds.map((r) => r.allowedAfter)), meaning: 'of these, allowed' },
  ];
}

function figuresOf({ name, what }: Means, rounds: readonly Round[]): readonly Figure[] {
  const denied = rounds.map(({ deniedMs }) => deniedMs);
  const answered = rounds.map(({ answeredMs }) => answeredMs);
  return [
    {
      name: `${name}_p50_ms`,
      value: median(denied),
      meaning: `${what}: until the first deny, median of ${rounds.length}`,
    },
    { name: `${name}_p99_ms`, value: percentile(denied, 0.99), meaning: 'the same, 99th percentile' },
    { name: `${name}_max_ms`, value: Math.max(...denied), meaning: 'the same, the slowest' },
    { name: `${name}_answer_p50_ms`, value: median(answered), meaning: 'until the call has answered, median' },
    { name: `${name}_answer_p99_ms`, value: percentile(answered, 0.99), meaning: 'the same, 99th percentile' },
  ];
}

interface Load extends AsyncDisposable {
  /** Does something under load. Rejects when the load does: a request of a service that nobody revokes was not allowed. */
  while<T>(work: () => Promise<T>): Promise<T>;
  figures(): readonly Figure[];
}

function startLoad({ context, envoy }: Scene, identity: Awaited<ReturnType<typeof fetchPeerIdentity>>): Load {
  const worker = startWorker<HttpJobs>('http-worker.ts');
  const rounds: LoadRound[] = [];
  const { address, ports } = envoy;
  const { concurrency } = LOAD;
  const once = (durationMs: number): Promise<LoadRound> =>
    worker.ask('load', { address, port: ports.svidgate, identity, concurrency, durationMs });
  return {
    async while(work) {
      await once(LOAD[context.size]);
      const over = new AbortController();
      const send = async (): Promise<void> => {
        while (!over.signal.aborted) rounds.push(await once(LOAD[context.size]));
      };
      const [result] = await Promise.all([work().finally(() => over.abort()), send()]);
      return result;
    },
    figures: () => [
      { name: 'load_per_second', value: medianPerSecond(rounds), meaning: 'requests of the load, all allowed' },
      { name: 'load_p50_ms', value: medianLatencyMs(rounds, 0.5), meaning: 'round trip of the load, median' },
      { name: 'load_p99_ms', value: medianLatencyMs(rounds, 0.99), meaning: 'round trip of the load, 99th percentile' },
    ],
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}
