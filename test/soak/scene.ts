import type { RawClient } from '../support/grpc-client.ts';
import type { ServerCli } from '../support/run-cli.ts';
import type { WorkloadClient } from '../support/workload-client.ts';
import type { Findings } from './findings.ts';
import type { World } from './model.ts';
import type { Random } from './random.ts';
import type { SoakEnvoy } from './soak-envoy.ts';

/** What all parts of a soak share. */
export interface Scene {
  readonly folder: string;
  /** `unix:PATH` */
  readonly socket: string;
  readonly envoy: SoakEnvoy;
  readonly cli: ServerCli;
  readonly sds: RawClient;
  readonly workload: WorkloadClient;
  readonly world: World;
  readonly findings: Findings;
  readonly random: Random;
  /** Aborted when the time is up: no part begins anything more. */
  readonly over: AbortSignal;
}

/** Waits, or rather not when the time is up. */
export async function pauseUnless(over: AbortSignal, ms: number): Promise<void> {
  if (over.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      over.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    over.addEventListener('abort', done);
  });
}
