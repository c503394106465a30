/**
 * The gate of the hunt for unsound rules: the endpoint's own method over real verifiers and certificates, and over each policy as
 * the server compiles and evaluates it. Who the calling Envoy is stands for itself: test/integration attests.
 */
import { Watchable, noMetrics, silentLogger, systemClock } from '../../../src/core/index.ts';
import { createExtAuthzEndpoint, type ExtAuthzOptions } from '../../../src/endpoints/ext-authz/index.ts';
import { followPeerFacts } from '../../../src/offload/peer-facts.ts';
import type { PeerFacts } from '../../../src/offload/restrict.ts';
import type { GateFacts } from '../../../src/offload/index.ts';
import type { OpenedPolicy, PolicyInput } from '../../../src/policy/index.ts';
import { CheckRequest, CheckResponse, decodeMessage, encodeMessage } from '../../../src/proto/index.ts';
import { parseSpiffeId, parseSpiffeIdPattern, trustDomainOf, type SpiffeId } from '../../../src/spiffe/index.ts';
import type { Peer, UnaryMethod } from '../../../src/transport/index.ts';
import { makeHopHeaders } from '../../hunt/hops.ts';
import { id, makePeople } from '../../hunt/people.ts';
import { readReply } from '../../hunt/reply.ts';
import type { Cast } from '../../hunt/reading.ts';
import { Timeline, type Change } from '../../hunt/timeline.ts';
import { createWorldIdentity, type WorldIdentity } from '../../hunt/world-identity.ts';
import type { Draw } from './draw.ts';
import { checkRequestOf } from './people-seen.ts';

/** What the gate answered: `plain` where an Envoy that does not ask does the same. */
export interface Answer {
  readonly isAllowed: boolean;
  readonly isPlain: boolean;
  readonly reason: string;
}

export interface Stage extends AsyncDisposable {
  readonly cast: Cast;
  readonly gate: GateFacts;
  /** What the gate knows of peers now; with `registers`, of a gate that has `deny_unregistered`. */
  facts(registers: boolean): PeerFacts;
  change(to: Change): Promise<void>;
  /** Asks a gate whose policy this is. */
  ask(draw: Draw, policy: Asked): Promise<Answer>;
}

export interface Asked {
  readonly opened: OpenedPolicy;
  readonly registers: boolean;
}

const SECOND = 1000;

/** In an empty folder. */
export async function createStage(folder: string): Promise<Stage> {
  await using open = new AsyncDisposableStack();
  const timeline = new Timeline();
  const people = await makePeople();
  const identity = await createWorldIdentity(folder, { people, clock: systemClock, timeline }, open);
  const cast = { people, hops: makeHopHeaders(people) };
  const facts = followFacts(identity, timeline, open);
  const methods = new Map<OpenedPolicy, Readonly<Record<'open' | 'registering', UnaryMethod>>>();
  const closing = open.move();
  return {
    cast,
    gate: {
      parsesBodies: true,
      tokenHeaders: ['authorization'],
      hops: [parseSpiffeIdPattern('spiffe://example.test/gateway')],
      guardsPaths: false,
    },
    facts: (registers) => facts[registers ? 'registering' : 'open'](),
    change: (to) => identity.change(to),
    async ask(draw, { opened, registers }) {
      const known = methods.get(opened) ?? {
        open: methodFor(opened, identity),
        registering: methodFor(opened, identity, (id) => isRegistered(id, timeline)),
      };
      methods.set(opened, known);
      const bytes = encodeMessage(CheckRequest, checkRequestOf(draw, cast));
      const method = known[registers ? 'registering' : 'open'];
      const peer = { kind: 'unix', connectionId: 1, process: { callerIds: draw.callerIds } } as unknown as Peer;
      const deadline = Date.now() + 30 * SECOND;
      const context = { peer, signal: NEVER, deadline, header: () => [] };
      return readAnswer(await method.handle(bytes, context));
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

const NEVER = new AbortController().signal;

const isRegistered = (id: SpiffeId, timeline: Timeline): boolean =>
  trustDomainOf(id) !== 'example.test' || !timeline.now.unregistered.includes(id);

function followFacts(
  { bundle, foreignBundles, revocations }: WorldIdentity,
  timeline: Timeline,
  open: AsyncDisposableStack,
): Readonly<Record<'open' | 'registering', () => PeerFacts>> {
  const named = ['alice', 'bob', 'mallory', 'gateway', 'orders', 'nobody'].map((name) => ({
    spiffeId: parseSpiffeId(id(name)),
  }));
  const known = new Watchable({ entries: named });
  const sources = { bundle, foreignBundles, revocations, known, clock: systemClock };
  const plain = open.use(followPeerFacts(sources));
  const entries = new Watchable({ hasSpiffeId: (id: SpiffeId) => !timeline.now.unregistered.includes(id) });
  const registering = open.use(followPeerFacts({ ...sources, entries }));
  return { open: () => plain.facts.value, registering: () => registering.facts.value };
}

function methodFor(
  opened: OpenedPolicy,
  { requests }: WorldIdentity,
  registered?: (id: SpiffeId) => boolean,
): UnaryMethod {
  const options: ExtAuthzOptions = {
    policies: {
      decide: async (policy: string, input: PolicyInput, { deadline }: { readonly deadline: number }) => {
        const bytes = typeof input === 'function' ? input(opened.needs) : input;
        return { ...(await opened.decide(bytes, { deadline })), policy };
      },
    },
    requests,
    // The process stands for what it would be attested as.
    attestor: { attest: (process) => Promise.resolve(attestationOf(process) as never) },
    entries: {
      match: (selectors) => [...selectors].map((selector) => ({ spiffeId: String(selector) }) as never),
    },
    ...(registered === undefined ? {} : { isRegistered: registered }),
    maxRequestBytes: 4 * 1024 * 1024,
    rules: {
      skipsBody: false,
      pathGuard: 'off',
      isDryRun: false,
      reply: { allowedHeaders: [], allowsSuccessOnDeny: false },
    },
    onError: 'deny',
    givesDenyBody: true,
    access: { listener: 'gate', policies: new Set(['hunt']), defaultPolicy: 'hunt' },
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
  };
  const [method] = createExtAuthzEndpoint(options);
  if (method?.kind !== 'unary') throw new Error('the endpoint has one unary method');
  return method;
}

function attestationOf(process: unknown): unknown {
  const { callerIds } = process as { readonly callerIds: readonly string[] };
  return { selectors: new Set(callerIds), assertAlive: () => undefined };
}

/** Members of an allow's metadata that each has. */
const OWN_METADATA: ReadonlySet<string> = new Set(['policy', 'decision_id']);

function readAnswer(bytes: Uint8Array): Answer {
  const { kind, reason } = readReply(bytes);
  if (kind !== 'allow') return { isAllowed: false, isPlain: false, reason };
  const { okResponse, dynamicMetadata } = decodeMessage(CheckResponse, bytes, 1e7);
  const changes = Object.values(okResponse ?? {}).filter((value) => Array.isArray(value) && value.length > 0);
  const metadata = Object.keys(dynamicMetadata?.fields ?? {}).filter((name) => !OWN_METADATA.has(name));
  return { isAllowed: true, isPlain: changes.length === 0 && metadata.length === 0, reason };
}
