import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startOpaReference } from '../../test/support/opa-reference.ts';
import { createBenchServer } from '../parts/bench-server.ts';
import { ENTRYPOINT, type Scenario } from './scenarios.ts';

/** A server that decides, alone on its processor. */
export interface Peer {
  readonly pid: number;
  /** `unix:PATH`. */
  readonly address: string;
}

export interface Peers extends AsyncDisposable {
  /** Also where Envoy can keep its files. */
  readonly folder: string;
  readonly svidgate: Peer;
  readonly opa: Peer;
}

/** A large policy takes its time to compile on a busy machine. */
const READY_WITHIN_MS = 120_000;

/** Which processor has the servers, and which the load and Envoy. */
const SERVER_CORE = 0;
export const LOAD_CORE = 1;

/** Both servers on one processor, with the same policy; only one of them has anything to do at a time. */
export async function startPeers(scenario: Scenario): Promise<Peers> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(
    await createBenchServer({
      gate: true,
      settings: {
        authz: {
          listen: 'unix:./run/authz.sock',
          eval_timeout: '5s', // a neighbour on the processor is no deny
          policies: { default: { path: './scenario', entrypoint: ENTRYPOINT } },
        },
      },
    }),
  );
  const policy = join(server.folder, 'scenario');
  await scenario.write(policy);
  await server.process.start(READY_WITHIN_MS);
  const pid = server.process.child?.pid ?? -1;
  await pin(pid, SERVER_CORE);
  const opa = stack.use(
    await startOpaReference({
      listen: `unix:${join(server.folder, 'run/opa.sock')}`,
      policies: { default: { path: policy, entrypoint: ENTRYPOINT } },
      command: ['taskset', '-c', String(SERVER_CORE)],
      processors: 1,
    }),
  );
  const owned = stack.move();
  return {
    folder: server.folder,
    svidgate: { pid, address: server.gate },
    opa,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** With all its threads, and those that they start. */
export async function pin(pid: number, core: number): Promise<void> {
  await promisify(execFile)('taskset', ['-a', '-c', '-p', String(core), String(pid)]);
}
