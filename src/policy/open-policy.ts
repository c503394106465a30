import { silentLogger, SvidgateError, systemClock, type Clock, type Logger } from '../core/index.ts';
import { offeredBuiltins } from './builtins/offered.ts';
import { decide, type Decision } from './decision.ts';
import type { Evaluation, NdBuiltinCache } from './evaluation.ts';
import type { InputNeeds } from './input-needs.ts';
import { createPolicyLoader } from './policy-loader.ts';
import { formatProblem, type PolicyProblem } from './problem.ts';
import { createRegoCompiler, type RegoCompiler } from './rego-compiler.ts';
import { pathSource } from './path-source.ts';
import type { PolicySnapshot, SnapshotSource } from './snapshot-source.ts';
import type { PolicyNetwork } from './suspended-calls.ts';

export interface OpenPolicyOptions {
  /** As in `authz.policies`, or what reads it, also a snapshot that is there already: see snapshotSource. */
  readonly path: string | SnapshotSource;
  /** Slash-separated path of the rule that decides. */
  readonly entrypoint: string;
  /** What it may call. Default: all that is offered, also what asks the network, which then gets no answer but recorded ones. */
  readonly builtins?: readonly string[];
  /** Shared by those that open several policies. Default: one of its own, for these builtins. */
  readonly compiler?: RegoCompiler;
  /** Default: system time. */
  readonly clock?: Clock;
  /** Default: silent. */
  readonly logger?: Logger;
  readonly signal: AbortSignal;
}

export interface AskOptions {
  /** See EvaluationOptions. */
  readonly nd?: NdBuiltinCache;
  /** Milliseconds since the epoch. Default: 10 s from now, the time in the queue included. */
  readonly deadline?: number;
  readonly signal?: AbortSignal;
}

/** A policy outside the engine, for tools: what decides in the server, in a thread of its own. */
export interface OpenedPolicy extends AsyncDisposable {
  readonly snapshot: PolicySnapshot;
  /** Of the snapshot. */
  readonly digest: string;
  /** What of the input it can look at. */
  readonly needs: InputNeeds;
  /** What compiles but OPA's strict mode refuses. */
  readonly warnings: readonly PolicyProblem[];
  /** As the engine decides. The name of the policy in the decision is empty. Never rejects. */
  decide(input: Uint8Array, options?: AskOptions): Promise<Decision>;
  /** What decide() makes the decision of. Never rejects. */
  evaluate(input: Uint8Array, options?: AskOptions): Promise<Evaluation>;
}

/** The policy does not compile. */
export class PolicyRefusedError extends SvidgateError {
  readonly problems: readonly PolicyProblem[];

  constructor(description: string, problems: readonly PolicyProblem[]) {
    super('policy_invalid', `${description} does not compile: ${problems.map(formatProblem).join('; ')}`);
    this.problems = problems;
  }
}

const DEFAULT_LIMIT_MS = 10_000;
/** Whoever asks bounds how many calls are open. */
const QUEUE_LIMIT = 2 ** 20;

/** Compiles the policy and loads it as the server does. Throws PolicyRefusedError, and what the source and the loader throw. */
export async function openPolicy(options: OpenPolicyOptions): Promise<OpenedPolicy> {
  const { path, entrypoint, signal, clock = systemClock, logger = silentLogger } = options;
  const { builtins = offeredBuiltins(true), compiler = createRegoCompiler({ clock, builtins }) } = options;
  const source = typeof path === 'string' ? pathSource(path, { clock }) : path;
  const snapshot = await source.read(signal);
  const parts = { clock, logger, compiler, queueLimit: QUEUE_LIMIT, givesWay: false, network: noNetwork };
  const loaded = await createPolicyLoader(parts).load(snapshot, entrypoint, signal);
  if (loaded.kind === 'refused') throw new PolicyRefusedError(source.description, loaded.problems);
  const { evaluator, needs, warnings } = loaded;
  const { digest } = snapshot;
  const evaluate: OpenedPolicy['evaluate'] = (input, { deadline = clock.now() + DEFAULT_LIMIT_MS, ...rest } = {}) =>
    evaluator.evaluate(input, { deadline, ...rest });
  return {
    snapshot,
    digest,
    needs,
    warnings,
    evaluate,
    async decide(input, ask) {
      return decide({ policy: '', digest }, await evaluate(input, ask));
    },
    async [Symbol.asyncDispose]() {
      await evaluator.close();
    },
  };
}

/** A snapshot that is there already as a source that never changes. */
export function snapshotSource(description: string, snapshot: PolicySnapshot): SnapshotSource {
  return {
    description,
    read: () => Promise.resolve(snapshot),
    async *changes() {
      await Promise.resolve();
      yield undefined;
    },
  };
}

/** A tool asks nobody in the name of a policy: every exchange fails. */
const noNetwork: PolicyNetwork = {
  responseCacheBytes: 0,
  exchange: () => Promise.resolve({ fault: 'the network is not asked here', reason: 'refused' }),
  close: () => undefined,
};
