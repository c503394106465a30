import { join } from 'node:path';
import { startOpaReference } from '../../test/support/opa-reference.ts';
import { waitUntil } from '../../test/support/wait-until.ts';
import { pin } from '../authz/peers.ts';
import {
  createBenchServer,
  OWN_SELECTOR,
  PEER_SPIFFE_ID,
  SERVICE_SPIFFE_ID,
  type BenchServer,
} from '../parts/bench-server.ts';
import { startOffloadEnvoy, type OffloadEnvoy } from './listeners.ts';
import { ENTRYPOINT, writeTable, type Row } from './policy.ts';

/** Envoy has one processor for itself; servers and load share the other. */
export const CORES = { envoy: 1, others: 0 };

export interface Scene extends AsyncDisposable {
  readonly server: BenchServer;
  readonly opaPid: number;
  readonly envoy: OffloadEnvoy;
}

const READY_WITHIN_MS = 120_000;

export async function openScene(rows: readonly Row[]): Promise<Scene> {
  await using open = new AsyncDisposableStack();
  const server = open.use(await createOffloadServer());
  await writeTable(join(server.folder, 'scenario'), rows, 'svidgate');
  await writeTable(join(server.folder, 'opa'), rows, 'opa');
  await server.writeEntries([
    { spiffe_id: SERVICE_SPIFFE_ID, selectors: [OWN_SELECTOR, `unix:path:${join(server.folder, 'bin/envoy-shop')}`] },
    { spiffe_id: PEER_SPIFFE_ID, selectors: [OWN_SELECTOR, `unix:path:${process.execPath}`] },
  ]);
  await server.process.start(READY_WITHIN_MS);
  const opa = open.use(
    await startOpaReference({
      listen: `unix:${join(server.folder, 'run/opa.sock')}`,
      policies: { default: { path: join(server.folder, 'opa'), entrypoint: ENTRYPOINT } },
      processors: 1,
    }),
  );
  const envoy = open.use(
    await startOffloadEnvoy(server.folder, { opaSocket: join(server.folder, 'run/opa.sock'), rows }),
  );
  await waitUntil('the rules in Envoy', READY_WITHIN_MS, async () => {
    const [line] = /^extension_config_discovery.*svidgate\.offload\.default\.config_reload: [1-9].*$/m.exec(
      await envoy.envoy.admin('/stats?filter=config_reload'),
    ) ?? [undefined];
    return line !== undefined;
  });
  await pin(envoy.envoy.pid, CORES.envoy);
  for (const pid of [server.process.child?.pid ?? -1, opa.pid]) await pin(pid, CORES.others);
  const opened = open.move();
  return { server, opaPid: opa.pid, envoy, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** With its policy in `scenario/`, and every decision recorded. Not started yet. */
export async function createOffloadServer(): Promise<BenchServer> {
  return await createBenchServer({
    gate: true,
    settings: {
      authz: {
        listen: 'unix:./run/authz.sock',
        eval_timeout: '5s', // a neighbour on the processor is no deny
        offload_lease: '5m',
        policies: { default: { path: './scenario', entrypoint: ENTRYPOINT, offload: 'on' } },
      },
      decision_log: {},
      // More than the default, which bounds what one caller may have: here, one process stands for a hundred.
      sds: { limits: { streams: 100_000, requests_per_second: 1_000_000, request_bytes_per_second: 2 ** 32 } },
    },
  });
}
