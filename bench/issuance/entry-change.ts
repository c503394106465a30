import { setTimeout as pause } from 'node:timers/promises';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { connectAdmin, IMPORT_MODE } from '../parts/admin-client.ts';
import { createBenchServer, OWN_SELECTOR, TRUST_DOMAIN } from '../parts/bench-server.ts';
import type { IdentityJobs, LaterAnswer } from '../parts/identity-worker.ts';
import { sharedClockMs, soon } from '../parts/measure.ts';
import { startWorker, type Worker } from '../parts/worker.ts';
import { percentile } from '../statistics.ts';

/** `connections` of one process, each with a stream for an entry of its own; `others` are entries of nobody. */
const SIZES = {
  full: { connections: 20, others: 980, changes: 100 },
  quick: { connections: 2, others: 10, changes: 3 },
};

const PUSHED_WITHIN_MS = 10_000;
/** How long nothing may come before it counts as not pushed: far more than a needed push takes. */
const QUIET_MS = 300;

const spiffeIdOf = (index: number): string => `spiffe://${TRUST_DOMAIN}/changed/${index}`;

/** From the call of the admin API that changes an entry, audit and commit to disk included, to the push of the new SVID. */
export async function measureEntryChange({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { connections, others, changes } = SIZES[size];
  await using server = await createBenchServer({ gate: false });
  await using worker = startWorker<IdentityJobs>('identity-worker.ts');
  await server.process.start();
  using admin = await connectAdmin(server);
  const entries = Array.from({ length: connections + others }, (_, index) => ({
    entryId: `changed-${index}`,
    spiffeId: spiffeIdOf(index),
    selectors: [OWN_SELECTOR, ...(index < connections ? [] : ['unix:path:/nobody'])],
  }));
  await admin.call('importEntries', { entries, mode: IMPORT_MODE.create });
  const names = Array.from({ length: connections }, (_, index) => [spiffeIdOf(index)]);
  const asked = names.map((one) => ({ kind: 'sds', names: one }) as const);
  await worker.ask('open', { socket: server.sds.slice('unix:'.length), asked });
  progress(`${changes} changes of an entry through the admin API`);
  const times: number[] = [];
  let unneeded = 0;
  for (let change = 0; change < changes; change += 1) {
    const connection = change % connections;
    const entry = { dnsNames: [`change-${change}.bench.test`] };
    const beganAt = sharedClockMs();
    await admin.call('updateEntry', { entryId: `changed-${connection}`, entry, updateFields: ['dns_names'] });
    const answers = await soon('the push of a change', PUSHED_WITHIN_MS, () => taken(worker));
    const needed = answers.find((answer) => answer.connection === connection);
    if (needed === undefined) throw new Error('a change was pushed to another connection than its own');
    unneeded += answers.length - 1;
    times.push(needed.at - beganAt);
  }
  await pause(QUIET_MS);
  unneeded += (await worker.ask('take', undefined)).length;
  return [
    {
      name: 'entry_change_to_push_p50_ms',
      value: percentile(times, 0.5),
      meaning: 'entry changed by the admin API until its new SVID has arrived, median',
    },
    { name: 'entry_change_to_push_p99_ms', value: percentile(times, 0.99), meaning: 'the same, 99th percentile' },
    { name: 'entry_change_pushes_not_needed', value: unneeded, meaning: 'pushes of other SVIDs meanwhile' },
  ];
}

async function taken(worker: Worker<IdentityJobs>): Promise<readonly LaterAnswer[] | undefined> {
  const answers = await worker.ask('take', undefined);
  return answers.length === 0 ? undefined : answers;
}
