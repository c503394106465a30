import type { Config } from '../config/index.ts';
import { describeError, supervise, SvidgateError, systemClock, type Clock, type Logger } from '../core/index.ts';
import { openDataDirectory, openSqliteDatastore, type DataDirectory, type Datastore } from '../datastore/index.ts';
import { createRegoProgram, type PolicyEngine, type RegoProgram } from '../policy/index.ts';
import { createAuditLog, createLogger, createMetrics, limitFloods, type MetricsRegistry } from '../telemetry/index.ts';
import type * as listenersModule from './listeners.ts';
import type { ServerParts } from './parts.ts';
import { createPolicies, openPolicySources } from './policies.ts';
import { readVersion } from './version.ts';

export interface RunningServer {
  /** Where it listens: `unix:PATH` or `HOST:PORT` with the port that was bound. */
  readonly addresses: {
    readonly workload: string;
    readonly admin: string;
    readonly gate?: string;
    /** Further listeners of the gate by name. */
    readonly [gate: `gate:${string}`]: string;
    readonly http?: string;
    readonly [http: `http:${string}`]: string;
    readonly telemetry?: string;
  };
  /** Ends every stream with a status, removes sockets and the lock. Resolves when all is closed. */
  stop(reason: string): Promise<void>;
  /** Resolves when the server has stopped; rejects when it could not go on. */
  readonly finished: Promise<void>;
}

export interface StartOptions {
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Aborted before the server has started: all is closed again, and startServer throws. */
  readonly signal?: AbortSignal;
}

/**
 * Starts all of svidgate and returns when it listens and each policy is in force or was refused. Throws a SvidgateError,
 * with everything closed again, when a part cannot start: the data directory or a socket in use, an unreadable key,
 * mistakes in the entries file.
 */
export async function startServer(config: Config, options: StartOptions = {}): Promise<RunningServer> {
  const logger = options.logger ?? createLogger({ level: config.telemetry.logLevel });
  const clock = options.clock ?? systemClock;
  const stop = new AbortController();
  const giveUp = (): void => stop.abort();
  options.signal?.addEventListener('abort', giveUp);
  const open = new AsyncDisposableStack();
  try {
    const server = await start({ config, logger, clock, stop, open });
    if (options.signal?.aborted === true)
      throw new SvidgateError('canceled', 'svidgate was told to stop while it started');
    return server;
  } catch (error) {
    stop.abort();
    await open.disposeAsync();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', giveUp);
  }
}

interface StartContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly stop: AbortController;
  /** Closed in reverse order: listeners first, the data directory last. */
  readonly open: AsyncDisposableStack;
}

async function start(context: StartContext): Promise<RunningServer> {
  const { config, clock, logger, stop, open } = context;
  const startedAt = clock.now();
  const metrics = createMetrics();
  const directory = await openDataDirectory(config.dataDir);
  open.defer(() => directory.close());
  const stores = open.use(new AsyncDisposableStack());
  const program = createRegoProgram({ clock });
  const sources = await openPolicySources(context, { metrics, directory, program });
  // Opened while policies are loaded; their history is in it.
  const datastore = openSqliteDatastore({ directory, clock, logger: logger.child({ room: 'datastore' }) });
  stores.defer(async () => (await datastore.catch(() => undefined))?.close());
  const history = datastore.then(({ policyHistory }) => policyHistory);
  history.catch(() => undefined); // thrown by what waits for the datastore
  const policies = createPolicies(context, { metrics, directory, program, sources, history });
  const policiesLoaded = Promise.withResolvers<void>();
  const making = makeOtherParts(context, { metrics, directory, stores, datastore, policies, program });
  const made = making.then(({ parts }) => parts).catch(() => undefined); // thrown below
  const tasks = supervise(stop.signal, [
    // First, since its threads work while this one is busy with the other parts.
    async (signal) => {
      sources?.begin(signal);
      await policies?.start(signal);
      policiesLoaded.resolve();
      await policies?.run(signal);
    },
    async (signal) => await (await made)?.signer.run(signal),
    async (signal) => await (await made)?.registry.run(signal),
    async (signal) => await (await made)?.foreignBundles.run(signal),
    async (signal) => await (await made)?.revocations.run(signal),
    async (signal) => await (await made)?.secrets.store.run(signal),
    async (signal) => await (await made)?.streams.run(signal),
    async (signal) => await (await made)?.gateIdentity?.run(signal),
    async (signal) => await (await made)?.evidence?.run(signal),
    async (signal) => await (await made)?.offloadEvidence?.run(signal),
    async (signal) => {
      const parts = await made;
      if (parts !== undefined) await sources?.run(parts, signal);
    },
  ]);
  tasks.catch(() => undefined); // its failure is seen through `finished`
  open.defer(async () => {
    stop.abort();
    await tasks.catch((error: unknown) =>
      logger.error({ reason: describeError(error) }, 'a part of the server failed'),
    );
  });
  const { parts, listeners } = await making;
  // Before the policies: they have their say on what is recorded.
  open.defer(() => parts.decisionLog?.recorder.close());
  open.defer(() => parts.offload?.[Symbol.dispose]());
  open.defer(() => parts.tracker.close());
  open.defer(() => parts.exits?.close()); // before: processes that are not watched any more have not ended
  const addresses = await startListeners(parts, listeners, { open, metrics, startedAt });
  await Promise.race([policiesLoaded.promise, tasks]);
  parts.offload?.begin();
  for (const address of Object.values(addresses)) logger.info({ address }, 'listening');
  logger.info({ trust_domain: config.trustDomain, pid: process.pid }, 'svidgate started');
  return running({ ...context, addresses, tasks });
}

type ListenerName = 'workload' | 'admin' | 'telemetry' | 'gate' | `gate:${string}` | 'http' | `http:${string}`;

/** Identities are served, and checks denied, while policies are still being compiled. Readiness comes last: then all others listen. */
async function startListeners(
  parts: ServerParts,
  listeners: Listeners,
  own: { readonly open: AsyncDisposableStack; readonly metrics: MetricsRegistry; readonly startedAt: number },
): Promise<RunningServer['addresses']> {
  const { open, metrics, startedAt } = own;
  const addresses = new Map<ListenerName, string>();
  const workload = await listeners.startWorkloadSocket(parts);
  addresses.set('workload', workload.address);
  open.defer(() => workload.stop(GRACE_MS));
  const gate = await listeners.startGate(parts);
  if (gate !== undefined) {
    for (const [name, address] of gate.addresses) addresses.set(name, address);
    open.defer(() => gate.stop(GRACE_MS));
  }
  const status = listeners.createStatus(parts, {
    version: await readVersion(),
    startedAt,
    listeners: () => [...addresses].map(([name, address]) => ({ name, address })),
  });
  const admin = await listeners.startAdmin(parts, status);
  addresses.set('admin', admin.address);
  open.defer(() => admin.stop(GRACE_MS));
  const telemetry = await listeners.startTelemetry(parts, metrics);
  if (telemetry !== undefined) {
    addresses.set('telemetry', telemetry.address);
    open.defer(() => telemetry.close());
  }
  return { ...Object.fromEntries(addresses), workload: workload.address, admin: admin.address };
}

/**
 * All but the policies. Its modules are imported here: on a restart nothing is allowed until the policies are loaded,
 * which goes on meanwhile.
 */
async function makeOtherParts(
  context: StartContext,
  own: {
    readonly metrics: MetricsRegistry;
    readonly directory: DataDirectory;
    /** Closed after everything that writes to them. */
    readonly stores: AsyncDisposableStack;
    readonly datastore: Promise<Datastore>;
    readonly policies: PolicyEngine | undefined;
    readonly program: RegoProgram;
  },
): Promise<{ readonly parts: ServerParts; readonly listeners: Listeners }> {
  const { metrics, directory, stores, policies, program } = own;
  const { config, clock } = context;
  const [{ createParts }, listeners] = await Promise.all([import('./parts.ts'), import('./listeners.ts')]);
  const datastore = await own.datastore;
  const log = createAuditLog({ ...config.audit, logger: context.logger.child({ room: 'audit' }), metrics, clock });
  stores.defer(() => log.close());
  const audit = { ...limitFloods(log, clock), state: () => log.state };
  return {
    parts: await createParts(
      { ...context, metrics, directory, stores, datastore, audit, regoProgram: program },
      policies,
    ),
    listeners,
  };
}

type Listeners = typeof listenersModule;

/** How long calls may go on after the server was told to stop. */
const GRACE_MS = 2000;

function running(
  context: StartContext & { readonly addresses: RunningServer['addresses']; readonly tasks: Promise<void> },
): RunningServer {
  const { logger, open, tasks } = context;
  let stopping: Promise<void> | undefined;
  const stopOnce = (reason: string): Promise<void> => {
    stopping ??= (async () => {
      logger.info({ reason }, 'svidgate stopping');
      await open.disposeAsync();
      logger.info({}, 'svidgate stopped');
    })();
    return stopping;
  };
  const finished = tasks.then(
    () => stopOnce('told to stop'),
    async (error: unknown) => {
      await stopOnce('a part of the server failed');
      throw error;
    },
  );
  finished.catch(() => undefined);
  return { addresses: context.addresses, stop: stopOnce, finished };
}
