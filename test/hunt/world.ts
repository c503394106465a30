/**
 * The gate of the hunt: the endpoint's own method over a real engine with its threads, real verifiers and a proven caller;
 * only the sockets are left out: test/integration and test/e2e have those.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAttestor, createUnixAttestor } from '../../src/attestation/index.ts';
import { noAudit, noMetrics, silentLogger, SvidgateError, systemClock, type Clock } from '../../src/core/index.ts';
import { createExtAuthzEndpoint, type ExtAuthzOptions } from '../../src/endpoints/ext-authz/index.ts';
import { createPolicyEngine, type PolicyEngine } from '../../src/policy/index.ts';
import { parseSpiffeId } from '../../src/spiffe/index.ts';
import type { IdentifyPeer, Peer, UnaryMethod } from '../../src/transport/index.ts';
import { ownPeer } from '../support/own-peer.ts';
import { waitUntil } from '../support/wait-until.ts';
import type { Case } from './case.ts';
import { makeHopHeaders, SIDECAR } from './hops.ts';
import { makePeople } from './people.ts';
import { POLICIES, SWAPPED, type PolicyName } from './policies.ts';
import type { Cast } from './reading.ts';
import { Timeline, type Change } from './timeline.ts';
import { createWorldIdentity, type WorldParts } from './world-identity.ts';

/** What became of a call. */
export type Reply =
  { readonly kind: 'bytes'; readonly bytes: Uint8Array } | { readonly kind: 'grpc_error'; readonly message: string };

export interface World extends AsyncDisposable {
  readonly cast: Cast;
  readonly timeline: Timeline;
  /** For a server of one's own. */
  readonly gate: { readonly method: UnaryMethod; readonly identify: IdentifyPeer };
  ask(bytes: Uint8Array, how: Pick<Case, 'caller' | 'deadlineMs' | 'cancelMs'>): Promise<Reply>;
  /** Sets what is the case; resolves when it is in force and `timeline` says so. */
  change(to: Change): Promise<void>;
  /** Puts another version in the place of a policy's. */
  swap(name: PolicyName, version: number): Promise<void>;
  /** Writes a policy that does not compile over the one in force. */
  damage(name: PolicyName): Promise<void>;
  /** The same world behind a gate with a part of another kind: for tests that the hunt finds what is wrong. */
  spoiled(by: Spoil): World;
  /** Ends the engine while calls are open. */
  shutDown(): Promise<void>;
}

export interface Spoil {
  readonly options?: (options: ExtAuthzOptions) => ExtAuthzOptions;
  readonly method?: (method: UnaryMethod) => UnaryMethod;
}

/** Compiled once for all worlds of the process. */
const compiled = new Map<string, Uint8Array>();
const cache = {
  load: (policy: string, key: string) => Promise.resolve(compiled.get(`${policy} ${key}`)),
  save: (policy: string, key: string, bytes: Uint8Array) => {
    compiled.set(`${policy} ${key}`, Buffer.from(bytes));
    return Promise.resolve();
  },
};

/** In an empty folder. */
export async function createWorld(folder: string): Promise<World> {
  await using open = new AsyncDisposableStack();
  await mkdir(folder, { recursive: true });
  const timeline = new Timeline();
  const clock: Clock = {
    now: () => Date.now() + timeline.now.clockMs,
    sleep: (ms, signal) => systemClock.sleep(ms, signal),
  };
  const people = await makePeople();
  const parts = { people, clock, timeline };
  const { engine, ...running } = await startEngine(folder, parts);
  open.defer(running.stop);
  const identity = await createWorldIdentity(folder, parts, open);
  const caller = open.use(await ownPeer());
  const attestor = createAttestor({
    tracker: caller.tracker,
    attestors: [createUnixAttestor({ discoverWorkloadPath: false, executableDigest: { kind: 'off' } })],
    allowWithoutPid: false,
    clock,
    logger: silentLogger,
    metrics: noMetrics,
    audit: noAudit,
  });
  const uid = `unix:uid:${process.getuid?.() ?? -1}`;
  const entry = { spiffeId: parseSpiffeId(SIDECAR) };
  const options: ExtAuthzOptions = {
    policies: engine,
    requests: identity.requests,
    attestor,
    entries: {
      match: (selectors) =>
        timeline.now.hasCaller && [...selectors].some((selector) => String(selector) === uid) ? [entry as never] : [],
    },
    isRegistered: (spiffeId) => !timeline.now.unregistered.includes(spiffeId),
    maxRequestBytes: 1024 * 1024,
    rules: {
      skipsBody: false,
      pathGuard: 'off',
      isDryRun: false,
      reply: { allowedHeaders: [], allowsSuccessOnDeny: false },
    },
    onError: 'deny',
    givesDenyBody: true,
    access: { listener: 'gate', policies: new Set(Object.keys(POLICIES)), defaultPolicy: 'default' },
    clock,
    logger: silentLogger,
    metrics: noMetrics,
  };
  const peers: Readonly<Record<Case['caller'], Peer>> = {
    attested: { kind: 'unix', connectionId: 1, process: caller.peer },
    anonymous: { kind: 'tcp', connectionId: 2, address: '127.0.0.1:1' },
  };
  const askBy = (method: UnaryMethod): World['ask'] => {
    return (bytes, how) => ask(method, bytes, { how, peer: peers[how.caller], clock });
  };
  const closing = open.move();
  const method = checkMethod(options);
  const world: World = {
    gate: { method, identify: (fileDescriptor) => caller.tracker.identify(fileDescriptor) },
    cast: { people, hops: makeHopHeaders(people) },
    timeline,
    ask: askBy(method),
    change: (to) => identity.change(to),
    swap: (name, version) => swapPolicy({ name, version, folder, engine, timeline }),
    damage: (name) => writeFile(join(folder, name, 'policy.rego'), 'package envoy.authz\n\nallow if {'),
    spoiled(by) {
      const spoiled = by.options === undefined ? method : checkMethod(by.options(options));
      return { ...world, ask: askBy(by.method === undefined ? spoiled : by.method(spoiled)) };
    },
    shutDown: running.stop,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
  return world;
}

function checkMethod(options: ExtAuthzOptions): UnaryMethod {
  const [method] = createExtAuthzEndpoint(options);
  if (method?.kind !== 'unary') throw new Error('the endpoint has one unary method');
  return method;
}

/** As transport does: what the handler throws is answered by `onFault`. */
async function ask(
  method: UnaryMethod,
  bytes: Uint8Array,
  call: { readonly how: Pick<Case, 'deadlineMs' | 'cancelMs'>; readonly peer: Peer; readonly clock: Clock },
): Promise<Reply> {
  const { how, peer, clock } = call;
  const gone = new AbortController();
  const leaving = how.cancelMs === undefined ? undefined : setTimeout(() => gone.abort(), how.cancelMs);
  try {
    const context = { peer, signal: gone.signal, deadline: clock.now() + how.deadlineMs, header: () => [] };
    return { kind: 'bytes', bytes: await method.handle(bytes, context) };
  } catch (error) {
    const failure = SvidgateError.from(error);
    const reply = method.onFault?.(failure);
    return reply === undefined ? { kind: 'grpc_error', message: failure.message } : { kind: 'bytes', bytes: reply };
  } finally {
    clearTimeout(leaving);
  }
}

async function writePolicy(folder: string, files: Readonly<Record<string, string>> = {}): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
}

async function startEngine(
  folder: string,
  { clock }: WorldParts,
): Promise<{ readonly engine: PolicyEngine; readonly stop: () => Promise<void> }> {
  for (const [name, { versions }] of Object.entries(POLICIES)) {
    await writePolicy(join(folder, name), versions[0]);
  }
  const engine = createPolicyEngine({
    policies: Object.entries(POLICIES).map(([name, { entrypoint }]) => ({
      name,
      entrypoint,
      path: join(folder, name),
    })),
    evalTimeoutMs: 500,
    queueLimit: 64,
    cache,
    clock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const stop = new AbortController();
  await engine.start(stop.signal);
  const running = engine.run(stop.signal).catch(() => undefined);
  return {
    engine,
    async stop() {
      stop.abort();
      await running;
    },
  };
}

async function swapPolicy(what: {
  readonly name: PolicyName;
  readonly version: number;
  readonly folder: string;
  readonly engine: PolicyEngine;
  readonly timeline: Timeline;
}): Promise<void> {
  const { name, version, folder, engine, timeline } = what;
  if (!SWAPPED.includes(name)) throw new Error(`${name} has one version`);
  const before = engine.status.value.get(name)?.digest;
  const old = timeline.now.versions[name] ?? [0];
  if (old.length === 1 && old[0] === version) return;
  timeline.set({ versions: { ...timeline.now.versions, [name]: [...old, version] }, isSwapping: true });
  await writePolicy(join(folder, name), POLICIES[name].versions[version]);
  await waitUntil(`version ${version} of ${name}`, 60_000, () => engine.status.value.get(name)?.digest !== before);
  timeline.set({ versions: { ...timeline.now.versions, [name]: [version] }, isSwapping: false });
}
