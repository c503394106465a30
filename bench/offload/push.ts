import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { linkNode } from '../parts/bench-folder.ts';
import { OWN_SELECTOR, SERVICE_SPIFFE_ID } from '../parts/bench-server.ts';
import { sharedClockMs } from '../parts/measure.ts';
import type { SdsJobs } from '../parts/sds-worker.ts';
import { startWorker, type Worker } from '../parts/worker.ts';
import { median } from '../statistics.ts';
import { writeRules } from './policy.ts';
import { createOffloadServer } from './scene.ts';

const SIZES = {
  full: { rules: 1000, envoys: 100, rounds: 7 },
  quick: { rules: 20, envoys: 3, rounds: 1 },
};

const FLEET = 'envoys';
const LEAST_BYTES_OF_A_RULE = 50;
const READY_WITHIN_MS = 120_000;
const PUSHED_WITHIN_MS = 60_000;
/** Attestation remembers the digest only of a file that nobody touched for 2 s, as executables are in practice. */
const SETTLE_MS = 2500;

/** A policy of many rules is saved; the time goes to the arrival of its rules on the last stream. */
export async function pushFigures({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rules, envoys, rounds } = SIZES[size];
  progress(`starting svidgate with a policy of ${rules} rules, and ${envoys} streams`);
  await using server = await createOffloadServer();
  const scenario = join(server.folder, 'scenario');
  await writeRules(scenario, rules, '0');
  const node = await linkNode(server.folder, 'envoys');
  await server.writeEntries([{ spiffe_id: SERVICE_SPIFFE_ID, selectors: [OWN_SELECTOR, `unix:path:${node}`] }]);
  if (size === 'full') await pause(SETTLE_MS);
  await server.process.start(READY_WITHIN_MS);
  await using worker = startWorker<SdsJobs>('sds-worker.ts', node);
  const { sample } = await worker.ask('open', {
    fleet: FLEET,
    socket: server.sds.slice('unix:'.length),
    protocol: 'sotw',
    resources: 'rules',
    // While a policy is translated, Envoys have no rules.
    countedFromBytes: rules * LEAST_BYTES_OF_A_RULE,
    connections: Array.from({ length: envoys }, () => [['svidgate.offload.default']]),
  });
  const times: number[] = [];
  let bytes = sample.length;
  // The first ones warm up: what is compiled again and again becomes native code.
  const warmUps = size === 'full' ? 3 : 1;
  for (let round = 1; round <= warmUps + rounds; round += 1) {
    progress(`change ${round} of ${warmUps + rounds}`);
    const pushed = await change(worker, () => writeRules(scenario, rules, `changed-${round}`));
    if (round > warmUps) times.push(pushed.ms);
    bytes = pushed.bytes / envoys;
    await pause(500);
  }
  return [
    {
      name: 'push_p50_ms',
      value: median(times),
      meaning: `a policy of ${rules} rules saved: until its rules have arrived on the last of ${envoys} streams, median`,
    },
    { name: 'push_max_ms', value: Math.max(...times), meaning: 'the longest' },
    { name: 'push_bytes', value: bytes, meaning: 'what each stream is sent' },
  ];
}

async function change(
  worker: Worker<SdsJobs>,
  save: () => Promise<void>,
): Promise<{ readonly ms: number; readonly bytes: number }> {
  await worker.ask('arm', FLEET);
  const arrivals = worker.ask('arrivals', FLEET);
  await save();
  const savedAt = sharedClockMs();
  const timeout = AbortSignal.timeout(PUSHED_WITHIN_MS);
  const late = new Promise<never>((_, reject) => {
    timeout.addEventListener('abort', () => reject(new Error('a change has not reached every stream')), { once: true });
  });
  const { at, bytes } = await Promise.race([arrivals, late]);
  return { ms: at.reduce((last, each) => Math.max(last, each)) - savedAt, bytes };
}
