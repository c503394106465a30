import { describeError, SvidgateError, type Clock } from '../../core/index.ts';
import { decide } from '../decision.ts';
import type { LoadedPolicy, PolicyLoader } from '../policy-loader.ts';
import type { PolicySource } from '../policy-status.ts';
import type { PolicyProblem } from '../problem.ts';
import type { RegoCompiler } from '../rego-compiler.ts';
import type { PolicySnapshot } from '../snapshot-source.ts';
import type { ActivationGate, Candidate, GateName, ReplayFindings, ReplayLimits } from './activation-gate.ts';
import type { ActivePolicy } from './policy-slot.ts';
import { digestOfTests, runTestsGate } from './tests-gate.ts';
import { runTrial } from './trial.ts';

export interface Gates {
  readonly clock: Clock;
  readonly compiler: RegoCompiler;
  readonly loader: PolicyLoader;
  /** Needed where a policy has `replay`. */
  readonly activationGate?: ActivationGate;
}

/** Why a policy does not come into force. */
export interface Refusal {
  readonly gate: GateName;
  readonly message: string;
  readonly problems: readonly PolicyProblem[];
  /** Whether the same files would be refused again. */
  readonly isFinal: boolean;
}

export type GatesResult =
  | {
      readonly kind: 'passed';
      /** Whoever gets it closes its evaluator. */
      readonly loaded: LoadedPolicy;
      /** Of the tests that passed; absent when none had to. */
      readonly testsPassed?: string;
    }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

export interface PassOptions {
  readonly source: PolicySource;
  readonly signal: AbortSignal;
  /** What decides now. */
  readonly inForce?: ActivePolicy | undefined;
  /** Whether recorded decisions are left alone. */
  readonly skipsReplay?: boolean;
  /** Before it is compiled: others make something of it meanwhile. Told again with undefined when it is refused. */
  readonly announce?: (candidate: PolicySnapshot | undefined) => void;
}

/** Of making recorded decisions again; 100,000 take some 30 s. */
const REPLAY_LIMIT_MS = 120_000;
/** Of a decision that is made again, the time in the queue included. */
const CANDIDATE_LIMIT_MS = 10_000;

/** From the files of a policy to what may decide. Throws only when the signal is aborted; then nothing is left open. */
export async function passGates(snapshot: PolicySnapshot, gates: Gates, options: PassOptions): Promise<GatesResult> {
  let loaded: LoadedPolicy | Refused | undefined;
  let isPassed = false;
  options.announce?.(snapshot);
  try {
    loaded = await loadCandidate(snapshot, gates, options);
    if (loaded.kind === 'refused') return loaded;
    const refusal =
      (await tryOut(loaded, gates)) ??
      (await test(snapshot, loaded, { ...gates, ...options })) ??
      (await replay(snapshot, loaded, { ...gates, ...options }));
    options.signal.throwIfAborted();
    if (refusal !== undefined) return { kind: 'refused', refusal };
    isPassed = true;
    const tests = options.source.tests === 'off' ? undefined : digestOfTests(snapshot);
    return { kind: 'passed', loaded, ...(tests === undefined ? {} : { testsPassed: tests }) };
  } finally {
    if (!isPassed) {
      options.announce?.(undefined);
      if (loaded?.kind === 'loaded') await loaded.evaluator.close();
    }
  }
}

type Refused = Extract<GatesResult, { kind: 'refused' }>;

/** Past the compiler alone: for what was in force before. */
export async function loadCandidate(
  snapshot: PolicySnapshot,
  { loader }: Pick<Gates, 'loader'>,
  { source, signal }: PassOptions,
): Promise<LoadedPolicy | Refused> {
  try {
    const loaded = await loader.load(snapshot, source.entrypoint, signal);
    if (loaded.kind === 'loaded') return loaded;
    const { problems } = loaded;
    const isTypeOnly = problems.every(({ code }) => code === 'result_type');
    const refusal: Refusal = isTypeOnly
      ? { gate: 'result_type', message: 'its entrypoint can give no decision', problems, isFinal: true }
      : { gate: 'compiler', message: 'the policy does not compile', problems, isFinal: true };
    return { kind: 'refused', refusal };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'refused', refusal: failureOf(error, 'load') };
  }
}

/** What failed rather than refused may pass by itself, and is tried again at the next look. */
export function failureOf(caught: unknown, gate: GateName): Refusal {
  const error = SvidgateError.from(caught);
  const message = error.code === 'internal' ? describeError(error) : error.message;
  return { gate, message, problems: [], isFinal: error.code === 'policy_invalid' };
}

async function tryOut({ evaluator, asksNetwork }: LoadedPolicy, { clock }: Gates): Promise<Refusal | undefined> {
  const message = await runTrial(evaluator, { clock, asksNetwork });
  return message === undefined ? undefined : { gate: 'trial', message, problems: [], isFinal: false };
}

async function test(
  snapshot: PolicySnapshot,
  { testsPassed }: LoadedPolicy,
  own: Gates & PassOptions,
): Promise<Refusal | undefined> {
  const { tests: rule = 'when_present' } = own.source;
  const digest = digestOfTests(snapshot);
  if (digest !== undefined && digest === testsPassed) return undefined;
  try {
    const refusal = await runTestsGate(snapshot, rule, own);
    return refusal === undefined ? undefined : { gate: 'tests', ...refusal, isFinal: true };
  } catch (error) {
    own.signal.throwIfAborted();
    const failure = failureOf(error, 'tests');
    return { ...failure, message: `its tests could not be run: ${failure.message}` };
  }
}

async function replay(
  snapshot: PolicySnapshot,
  { evaluator, needs }: LoadedPolicy,
  own: Gates & PassOptions,
): Promise<Refusal | undefined> {
  const { clock, source, activationGate, inForce, skipsReplay = false } = own;
  const { replay: limits } = source;
  if (limits === undefined || skipsReplay) return undefined;
  const [limit, timer] = [new AbortController(), new AbortController()];
  clock.sleep(REPLAY_LIMIT_MS, timer.signal).then(
    () => limit.abort(),
    () => undefined,
  );
  try {
    if (activationGate === undefined) throw new SvidgateError('policy_invalid', 'no decisions are recorded');
    const findings = await activationGate.replay({
      candidate: candidateOf({ evaluator, needs, digest: snapshot.digest }, own),
      ...(inForce === undefined ? {} : { inForce: candidateOf(inForce, own) }),
      limits,
      signal: AbortSignal.any([own.signal, limit.signal]),
    });
    return findings.changed <= limits.maxChanged ? undefined : changedRefusal(findings, limits);
  } catch (error) {
    own.signal.throwIfAborted();
    const isLate = limit.signal.aborted;
    const reason = isLate ? `it took longer than ${REPLAY_LIMIT_MS / 1000} s` : failureOf(error, 'replay').message;
    return { gate: 'replay', message: `recorded decisions cannot be tried: ${reason}`, problems: [], isFinal: false };
  } finally {
    timer.abort();
  }
}

function candidateOf(
  { evaluator, digest, needs }: Pick<ActivePolicy, 'evaluator' | 'digest' | 'needs'>,
  { source: { name: policy, entrypoint }, clock, signal }: Gates & PassOptions,
): Candidate {
  return {
    policy,
    digest,
    entrypoint,
    needs,
    async decide(input, { nd = {} } = {}) {
      const deadline = clock.now() + CANDIDATE_LIMIT_MS;
      return decide({ policy, digest }, await evaluator.evaluate(input, { deadline, signal, nd }));
    },
  };
}

function changedRefusal({ changed, replayed, examples }: ReplayFindings, { maxChanged }: ReplayLimits): Refusal {
  return {
    gate: 'replay',
    message: `${changed} of ${replayed} recorded decisions would change, and ${maxChanged} may`,
    problems: examples.map((message) => ({ code: 'decision_changed', message, file: '', line: 0, column: 0 })),
    isFinal: true,
  };
}
