import {
  supervise,
  SvidgateError,
  Watchable,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import { createBuiltinsProgram } from './builtins/builtins-program.ts';
import { offeredBuiltins } from './builtins/offered.ts';
import { keptPolicies, type CompiledPolicyCache } from './compiled-policy-cache.ts';
import { decide, type Decision, type EvaluatedDecision, type PolicyRecording } from './decision.ts';
import type { Evaluation, EvaluationOptions } from './evaluation.ts';
import { DecisionCache, type KnownDecision } from './decision-cache.ts';
import type { PolicyInput } from './input-needs.ts';
import type { ActivationGate } from './activation/activation-gate.ts';
import type { PolicyEvent } from './activation/policy-event.ts';
import type { ActivePolicy, LiveSnapshots } from './activation/policy-slot.ts';
import { LivePolicy, type OperatorRequest, type PolicyMemory, type RollbackRequest } from './live-policy.ts';
import type { HttpSendRules } from './network/http-send-rules.ts';
import { createPolicyNetworks } from './network/policy-network.ts';
import { withLogRules } from './log-rules.ts';
import { createPolicyLoader } from './policy-loader.ts';
import type { PolicyData } from './policy-data.ts';
import type { PolicySource, PolicyStatus } from './policy-status.ts';
import { createRegoCompiler, type RegoCompiler } from './rego-compiler.ts';
import type { RegoProgram } from './rego-program.ts';

export interface PolicyEngineOptions {
  readonly policies: readonly PolicySource[];
  /** The longest time from decide() to its answer, in milliseconds, also where the caller's deadline is later. */
  readonly evalTimeoutMs: number;
  /** How many calls of one policy may wait or be evaluated at once; the next ones are denied as overloaded. Default 1024. */
  readonly queueLimit?: number;
  /** Whom the policies may ask; default: nobody. */
  readonly httpSend?: HttpSendRules;
  /** What compiles, shared with who reads bundles by it: once loaded it holds 100 MB and more. Default: one of its own. */
  readonly regoProgram?: RegoProgram;
  /** Keeps compiled policies over a restart, which then does not wait for the compiler. Default: none. */
  readonly cache?: CompiledPolicyCache;
  /** What was in force, over a restart. Default: a restart knows nothing of it, and nothing can be rolled back. */
  readonly memory?: PolicyMemory;
  /** Makes recorded decisions again; needed where a policy has `replay`. */
  readonly activationGate?: ActivationGate;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface PolicyEngine {
  /**
   * Loads every policy once. One that cannot be loaded stays `not_active`, is logged and denies; the engine runs all
   * the same. Rejects only when the signal is aborted.
   */
  start(signal: AbortSignal): Promise<void>;
  /** Follows the policy folders until the signal is aborted; then ends all threads and every open call. After start(). */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Decides one request. `input` is the JSON text of the input document in UTF-8, in which numbers keep their text, or
   * makes it from what the policy in force can look at. Rejects with what making it throws and with nothing else, and
   * settles by the deadline.
   */
  decide(name: string, input: PolicyInput, options: EvaluationOptions): Promise<Decision>;
  /** The state of every configured policy by name. */
  readonly status: ReadonlyWatchable<ReadonlyMap<string, PolicyStatus>>;
  /** What became of the policy, newest first. Throws `not_found`. */
  history(name: string): Promise<readonly ListedPolicyEvent[]>;
  /** See LivePolicy. Also throws `not_found` for a policy that is not configured. */
  rollback(name: string, request: RollbackRequest, signal: AbortSignal): Promise<void>;
  /** As rollback(). */
  release(name: string, request: OperatorRequest, signal: AbortSignal): Promise<void>;
  /** The data of the policy in force. A policy that is not configured stays pending. */
  data(name: string): ReadonlyWatchable<PolicyData>;
  /** What records of its decisions follow; undefined while none is in force. */
  recording(name: string): PolicyRecording | undefined;
  /** The files of the policy in force, where its source has `showsSnapshots`; else empty for ever. */
  snapshots(name: string): ReadonlyWatchable<LiveSnapshots>;
}

export interface ListedPolicyEvent extends PolicyEvent {
  /** Whether the files are there to go back to. */
  readonly isKept: boolean;
}

const DEFAULT_QUEUE_LIMIT = 1024;

export function createPolicyEngine(options: PolicyEngineOptions): PolicyEngine {
  const { clock, evalTimeoutMs, httpSend, metrics } = options;
  const compiler = createRegoCompiler({
    clock,
    builtins: offeredBuiltins(httpSend !== undefined),
    ...(options.regoProgram === undefined ? {} : { program: options.regoProgram }),
  });
  const publish = (): void => status.set(new Map([...policies].map(([name, policy]) => [name, policy.status])));
  const entrypoints = new Map(options.policies.map(({ name, entrypoint }) => [name, entrypoint]));
  const networks = createPolicyNetworks(httpSend, { clock, metrics });
  const policies = createLivePolicies(options, { compiler, networks, onChange: publish });
  const status = new Watchable<ReadonlyMap<string, PolicyStatus>>(new Map());
  publish();
  const close = (): Promise<void> => closeAll(policies, networks);
  const named = (name: string): LivePolicy => {
    const policy = policies.get(name);
    if (policy !== undefined) return policy;
    throw new SvidgateError('not_found', `there is no policy ${JSON.stringify(name.slice(0, 100))}`);
  };
  return {
    status,
    history: async (name) => await listEvents(named(name)),
    rollback: async (name, request, signal) => await named(name).rollback(request, signal),
    release: async (name, request, signal) => await named(name).release(request, signal),
    data: (name) => policies.get(name)?.data ?? new Watchable<PolicyData>({ kind: 'pending' }),
    snapshots: (name) => policies.get(name)?.snapshots ?? new Watchable<LiveSnapshots>({}),
    recording: (name) => recordingOf(policies.get(name)?.active, entrypoints.get(name) ?? ''),
    async start(signal) {
      // Takes long, in threads of its own; a failure comes again where the digest is needed.
      if (options.cache !== undefined) compiler.digest().catch(() => undefined);
      try {
        // One after the other: each compilation takes a processor and some hundred MB.
        // What was in force comes first, of each: a source that is slow, or offers what takes long, holds up no other.
        for (const policy of policies.values()) await policy.restore(signal);
        for (const policy of policies.values()) await policy.reload(signal);
        signal.throwIfAborted();
      } catch (error) {
        await close();
        throw error;
      }
    },
    async run(signal) {
      const tasks = [...policies.values()].map((policy) => (each: AbortSignal) => policy.follow(each));
      try {
        await supervise(signal, tasks);
      } finally {
        await close();
      }
    },
    async decide(name, input, { deadline, signal }) {
      const active = policies.get(name)?.active;
      if (active === undefined) {
        return { effect: 'deny', reason: policies.has(name) ? 'not_active' : 'no_policy', policy: name };
      }
      const earlier = Math.min(deadline, clock.now() + evalTimeoutMs);
      const entrypoint = entrypoints.get(name) ?? '';
      const question = { name, entrypoint, input, ...(signal === undefined ? {} : { signal }), deadline: earlier };
      return await decideBy(active, question, metrics);
    },
  };
}

function createLivePolicies(
  options: PolicyEngineOptions,
  own: {
    readonly compiler: RegoCompiler;
    readonly networks: ReturnType<typeof createPolicyNetworks>;
    readonly onChange: () => void;
  },
): ReadonlyMap<string, LivePolicy> {
  const { clock, cache, queueLimit = DEFAULT_QUEUE_LIMIT } = options;
  const { compiler, networks, onChange } = own;
  const program = createBuiltinsProgram();
  return new Map(
    options.policies.map((source) => {
      const logger = options.logger.child({ policy: source.name });
      const kept = cache === undefined ? {} : { kept: keptPolicies(source.name, cache, logger) };
      const parts = { clock, logger, compiler, queueLimit, program, givesWay: source.givesWay === true };
      const loader = withLogRules(createPolicyLoader({ ...parts, ...networks.of(source.name), ...kept }), {
        clock,
        logger,
      });
      return [source.name, new LivePolicy(source, { ...options, logger, loader, compiler, onChange })];
    }),
  );
}

async function closeAll(
  policies: ReadonlyMap<string, LivePolicy>,
  networks: { readonly close: () => void },
): Promise<void> {
  await Promise.all([...policies.values()].map((policy) => policy.close()));
  networks.close();
}

/** Newest first. */
async function listEvents(policy: LivePolicy): Promise<readonly ListedPolicyEvent[]> {
  const digests = new Set(policy.events.flatMap(({ digest }) => digest ?? []));
  const kept = new Set<string>();
  for (const digest of digests) if (await policy.isKept(digest)) kept.add(digest);
  const events = policy.events.toReversed();
  return events.map((event) => ({ ...event, isKept: event.digest !== undefined && kept.has(event.digest) }));
}

interface Question extends EvaluationOptions {
  readonly name: string;
  readonly entrypoint: string;
  readonly input: PolicyInput;
}

/** Evaluates what was not decided before from the same values. */
async function decideBy(active: ActivePolicy, question: Question, metrics: Metrics): Promise<Decision> {
  const { name, entrypoint, input, ...options } = question;
  const { decisions, evaluator, digest, needs, revision } = active;
  const bytes = typeof input === 'function' ? input(needs) : input;
  const about = {
    input: bytes,
    needs: typeof input === 'function' ? needs : 'all',
    entrypoint,
    ...(evaluator.logRules === undefined ? {} : { logRules: evaluator.logRules }),
    ...(revision === undefined ? {} : { revision }),
    cached: false,
  } as const;
  const key = decisions === undefined || typeof input !== 'function' ? undefined : DecisionCache.keyOf(bytes);
  const known = key === undefined ? undefined : decisions?.get(key);
  if (known !== undefined) {
    metrics.count('svidgate_policy_cached_decisions_total', { policy: name });
    return { ...known.decision, evaluated: { ...about, ...valueOf(known), cached: true } };
  }
  const evaluation = await evaluator.evaluate(bytes, options);
  const decision = decide({ policy: name, digest }, evaluation);
  if (key !== undefined) decisions?.set(key, evaluation, decision);
  return { ...decision, evaluated: { ...about, ...valueOf(evaluation) } };
}

function recordingOf(active: ActivePolicy | undefined, entrypoint: string): PolicyRecording | undefined {
  if (active === undefined) return undefined;
  const { digest, needs, evaluator, revision } = active;
  return {
    digest,
    needs,
    entrypoint,
    ...(evaluator.logRules === undefined ? {} : { logRules: evaluator.logRules }),
    ...(revision === undefined ? {} : { revision }),
  };
}

function valueOf(found: KnownDecision | Evaluation): Partial<EvaluatedDecision> {
  return {
    ...('value' in found ? { value: found.value } : {}),
    ...('nd' in found && found.nd !== undefined ? { nd: found.nd } : {}),
    ...('ndLost' in found && found.ndLost !== undefined ? { ndLost: found.ndLost } : {}),
  };
}
