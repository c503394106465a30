import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import type { BenchmarkContext, Size } from '../benchmark.ts';
import { connectAdmin, IMPORT_MODE, type AdminClient } from '../parts/admin-client.ts';
import { startBenchEnvoy, type BenchEnvoy } from '../parts/bench-envoy.ts';
import { linkNode } from '../parts/bench-folder.ts';
import {
  createBenchServer,
  OWN_SELECTOR,
  PEER_SPIFFE_ID,
  SERVICE_SPIFFE_ID,
  TRUST_DOMAIN,
  type BenchServer,
} from '../parts/bench-server.ts';
import type { RevokedJobs } from '../parts/revoked-worker.ts';
import type { SdsJobs } from '../parts/sds-worker.ts';
import { startWorker, type Worker } from '../parts/worker.ts';
import { distinctCallers, distinctProcesses } from '../sds/distinct-change.ts';

export const SIZES = {
  full: { others: 1000, services: 20, rounds: 200, programRounds: 20 },
  quick: { others: 10, services: 2, rounds: 1, programRounds: 1 },
} as const satisfies Record<Size, unknown>;

/** A service whose identity is taken away, and what it needs to have it again. */
export interface Service {
  readonly number: number;
  readonly entry: { readonly entryId: string; readonly spiffeId: string; readonly selectors: readonly string[] };
  /** Of the SVID that its connections show. */
  readonly serial: string;
}

export interface Scene extends AsyncDisposable {
  readonly context: BenchmarkContext;
  readonly server: BenchServer;
  readonly envoy: BenchEnvoy;
  readonly admin: AdminClient;
  /** Sends for all services. */
  readonly sender: Worker<RevokedJobs>;
  readonly services: readonly Service[];
}

const CONNECTIONS = 2;

const SETTINGS = {
  authz: {
    listen: 'unix:./run/authz.sock',
    deny_unregistered: true,
    // Ten times the default: whatever else the machine does must not look like a deny.
    eval_timeout: '1s',
    policies: { default: { path: './policy', entrypoint: 'envoy/authz/allow' } },
  },
  // More than the default, which bounds what one caller may have: here, one process stands for hundreds.
  sds: { limits: { streams: 100_000, requests_per_second: 1_000_000, request_bytes_per_second: 2 ** 32 } },
};

/** A server with many identities connected, an Envoy that asks its gate, and services with open connections through it. */
export async function openScene(context: BenchmarkContext): Promise<Scene> {
  const { others, services: count } = SIZES[context.size];
  await using open = new AsyncDisposableStack();
  const server = open.use(await createBenchServer({ gate: true, settings: SETTINGS }));
  const node = await linkNode(server.folder, 'services');
  const entries = Array.from({ length: count }, (_, number) => ({
    entryId: `service-${number}`,
    spiffeId: `spiffe://${TRUST_DOMAIN}/service/${number}`,
    selectors: [OWN_SELECTOR, `unix:path:${node}`],
  }));
  const ids = entries.map(({ spiffeId }) => spiffeId);
  await allow(join(server.folder, 'policy/data.yaml'), ids);
  const callers = Array.from({ length: distinctProcesses(context.size) }, async (_, index) => {
    const path = await linkNode(server.folder, `caller-${index}`);
    const worker = open.use(startWorker<SdsJobs>('sds-worker.ts', path));
    return { worker, selectors: [OWN_SELECTOR, `unix:path:${path}`] };
  });
  const connected = distinctCallers({ callers: await Promise.all(callers) }, others);
  await server.process.start();
  const admin = open.use(await connectAdmin(server));
  await admin.call('importEntries', { entries: [...entries, ...connected.entries], mode: IMPORT_MODE.create });
  context.progress(`${others} identities connect`);
  await connect(server, connected.groups);
  const envoy = open.use(await startBenchEnvoy(server.folder));
  const sender = open.use(startWorker<RevokedJobs>('revoked-worker.ts', node));
  const { address, ports } = envoy;
  const serials = await sender.ask('open', {
    sds: server.sds,
    address,
    port: ports.svidgate,
    spiffeIds: ids,
    connections: CONNECTIONS,
  });
  const services = entries.map((entry, number) => ({ number, entry, serial: serials[number]! }));
  const opened = open.move();
  return { context, server, envoy, admin, sender, services, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** As Envoys do, each of which wants the bundle beside its SVIDs. */
async function connect(server: BenchServer, groups: ReturnType<typeof distinctCallers>['groups']): Promise<void> {
  const socket = server.sds.slice('unix:'.length);
  await Promise.all(
    groups.map(({ worker, connections, ...rest }) =>
      worker.ask('open', {
        fleet: 'others',
        socket,
        protocol: 'sotw',
        connections: connections.map((streams) => [...streams, ['ROOTCA']]),
        ...rest,
      }),
    ),
  );
  await pause(SETTLE_MS);
}

const SETTLE_MS = 500;

/** Lets these call the service of the benchmarks, beside whom its policy lets already. */
async function allow(file: string, ids: readonly string[]): Promise<void> {
  const { rules } = parse(await readFile(file, 'utf8')) as { rules: { from: string[]; to: string[] }[] };
  const own = rules.find(({ from, to }) => from.includes(PEER_SPIFFE_ID) && to.includes(SERVICE_SPIFFE_ID));
  if (own === undefined) throw new Error('no rule of the policy is about the benchmark');
  own.from.push(...ids);
  await writeFile(file, stringify({ rules }));
}
