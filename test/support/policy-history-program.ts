/**
 * Run as a program: `node policy-history-program.ts ACTION [STEP]`. A policy engine with what outlives it in `data` of the
 * working directory, on the policy in `policy`. ACTION is `look`, `activate` (the policy is edited to allow 2) or
 * `rollback`. Before STEP, or after it when that begins with `after:`, the process kills itself. Prints what is in force after
 * the start and at the end, as JSON lines.
 */
import { writeFileSync, writeSync } from 'node:fs';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import {
  createCompiledPolicies,
  createPolicySnapshots,
  openDataDirectory,
  openSqliteDatastore,
} from '../../src/datastore/index.ts';
import { createPolicyEngine } from '../../src/policy/index.ts';

export interface InForce {
  /** Which of the inputs 1 and 2 are allowed. */
  readonly allowed: readonly number[];
  readonly digest?: string;
  readonly heldFrom?: readonly string[];
  /** Oldest first. */
  readonly events: readonly { readonly kind: string; readonly digest?: string }[];
}

export type Step = 'replay' | 'audit' | 'keep files' | 'write history' | 'keep compiled';

export const allowing = (x: number): string => `package test\nallow if input.x == ${x}\n`;

async function main(action: string, killAt: string): Promise<void> {
  const policies = ['default'];
  let isArmed = false;
  const at = (moment: string): void => {
    if (isArmed && moment === killAt) process.kill(process.pid, 'SIGKILL');
  };
  const step = async <T>(name: Step, work: () => Promise<T>): Promise<T> => {
    at(name);
    const result = await work();
    at(`after:${name}`);
    return result;
  };
  const directory = await openDataDirectory('data');
  const datastore = await openSqliteDatastore({ directory, clock: systemClock, logger: silentLogger });
  const compiled = createCompiledPolicies(directory, { policies });
  const snapshots = createPolicySnapshots(directory, { policies });
  const engine = createPolicyEngine({
    policies: [
      {
        name: 'default',
        path: 'policy', // below the working directory: a copy of the folder is the same source
        entrypoint: 'test/allow',
        replay: { maxChanged: 0, records: 1 },
      },
    ],
    evalTimeoutMs: 5000,
    cache: { ...compiled, save: (...args) => step('keep compiled', () => compiled.save(...args)) },
    memory: {
      history: {
        ...datastore.policyHistory,
        append: (event) => step('write history', () => datastore.policyHistory.append(event)),
      },
      snapshots: { ...snapshots, save: (...args) => step('keep files', () => snapshots.save(...args)) },
    },
    activationGate: {
      replay: () => step('replay', () => Promise.resolve({ replayed: 0, changed: 0, notReplayable: 0, examples: [] })),
    },
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const stop = new AbortController();
  await engine.start(stop.signal);
  const running = engine.run(stop.signal);
  const tell = async (): Promise<void> => {
    const allowed: number[] = [];
    for (const x of [1, 2]) {
      const input = new TextEncoder().encode(JSON.stringify({ x }));
      const { effect } = await engine.decide('default', input, { deadline: Date.now() + 5000 });
      if (effect === 'allow') allowed.push(x);
    }
    const status = engine.status.value.get('default');
    const events = await datastore.policyHistory.list('default');
    const now: InForce = {
      allowed,
      ...(status?.digest === undefined ? {} : { digest: status.digest }),
      ...(status?.hold === undefined ? {} : { heldFrom: status.hold.from }),
      events: events.map(({ kind, digest }) => ({ kind, ...(digest === undefined ? {} : { digest }) })),
    };
    writeSync(1, `${JSON.stringify(now)}\n`);
  };
  await tell();
  isArmed = true;
  if (action === 'activate') {
    const before = engine.status.value.get('default')?.digest;
    writeFileSync('policy/test.rego', allowing(2));
    for await (const status of engine.status.watch(AbortSignal.timeout(20_000))) {
      if (status.get('default')?.digest !== before) break;
    }
  }
  if (action === 'rollback') {
    const beforeChange = (): void => at('audit');
    await engine.rollback('default', { by: 'uid:0', beforeChange }, stop.signal);
  }
  stop.abort();
  await running;
  await datastore.close();
  await directory.close();
  if (killAt !== '') throw new Error(`${killAt} did not come`);
}

if (process.argv[1] === import.meta.filename) {
  const [action = 'look', killAt = ''] = process.argv.slice(2);
  await main(action, killAt);
}
