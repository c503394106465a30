import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { connectAdmin } from '../parts/admin-client.ts';
import { linkNode } from '../parts/bench-folder.ts';
import { OWN_SELECTOR, SERVICE_SPIFFE_ID, TRUST_DOMAIN, type BenchServer } from '../parts/bench-server.ts';
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

/** svidgate.admin.v1.RevocationReason: unspecified. */
const NO_REASON = 1;
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
    const pushed = await change(worker, async () => {
      await writeRules(scenario, rules, `changed-${round}`);
      return sharedClockMs();
    });
    if (round > warmUps) times.push(pushed.ms);
    bytes = pushed.bytes / envoys;
    await pause(500);
  }
  progress(`revoking ${rounds} SPIFFE IDs`);
  const revocations = await revoke(server, worker, rounds);
  return [
    {
      name: 'push_p50_ms',
      value: median(times),
      meaning: `a policy of ${rules} rules saved: until its rules have arrived on the last of ${envoys} streams, median`,
    },
    { name: 'push_max_ms', value: Math.max(...times), meaning: 'the longest' },
    { name: 'push_bytes', value: bytes, meaning: 'what each stream is sent' },
    {
      name: 'revoke_p50_ms',
      value: median(revocations),
      meaning: 'a SPIFFE ID revoked: until the rules without it have arrived on the last of these streams, median',
    },
    { name: 'revoke_max_ms', value: Math.max(...revocations), meaning: 'the longest' },
  ];
}

/** As many SPIFFE IDs as asked for, each of one rule. */
async function revoke(server: BenchServer, worker: Worker<SdsJobs>, count: number): Promise<readonly number[]> {
  using admin = await connectAdmin(server);
  const times: number[] = [];
  for (let client = 1; client <= count; client += 1) {
    const { ms } = await change(worker, async () => {
      const startedAt = sharedClockMs();
      await admin.call('revoke', { spiffeId: `spiffe://${TRUST_DOMAIN}/client-${client}`, reason: NO_REASON });
      return startedAt;
    });
    times.push(ms);
    await pause(500);
  }
  return times;
}

/** `begin` says from when the time counts. */
async function change(
  worker: Worker<SdsJobs>,
  begin: () => Promise<number>,
): Promise<{ readonly ms: number; readonly bytes: number }> {
  await worker.ask('arm', FLEET);
  const arrivals = worker.ask('arrivals', FLEET);
  const savedAt = await begin();
  const timeout = AbortSignal.timeout(PUSHED_WITHIN_MS);
  const late = new Promise<never>((_, reject) => {
    timeout.addEventListener('abort', () => reject(new Error('a change has not reached every stream')), { once: true });
  });
  const { at, bytes } = await Promise.race([arrivals, late]);
  return { ms: at.reduce((last, each) => Math.max(last, each)) - savedAt, bytes };
}
