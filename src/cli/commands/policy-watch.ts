import { describeError, SvidgateError, systemClock } from '../../core/index.ts';
import { readRecords, replay, type DecisionRecord, type ReplayReport } from '../../evidence/index.ts';
import { createPolicyTools, type OpenedPolicy, type PolicySnapshot, type PolicyTools } from '../../policy/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { ToolOptions, WatchFlags } from '../groups/policy-tools.ts';
import { formatShownProblem, type ShownProblem } from '../policy-problems.ts';
import { formatTestRun, judgeTests, type TestVerdict } from '../policy-test-view.ts';
import { policyStates, type PolicyState } from '../policy-states.ts';
import { createProgress } from '../progress.ts';
import { formatReplayReport, replayReportJson } from '../replay-view.ts';
import { thousands } from '../thousands.ts';
import { untilInterrupted } from '../until-interrupted.ts';
import { countProblems, findProblems } from './policy-check.ts';

type Options = WatchFlags & ToolOptions;

/** The newest decisions are kept in memory, so that a change is tried on them at once. */
const MAX_RECORDS = 10_000;

/** `policy watch` */
export async function watchPolicy(path: string, options: Options): Promise<ExitCode> {
  const tools = createPolicyTools({ clock: systemClock });
  await untilInterrupted(async (signal) => {
    const records = options.from === undefined ? undefined : await newestRecords(options.from, { ...options, signal });
    for await (const state of policyStates(tools, path, signal)) {
      const round = await runRound(tools, path, {
        ...options,
        state,
        signal,
        ...(records === undefined ? {} : { records }),
      });
      signal.throwIfAborted();
      print(path, round, options);
    }
  });
  return EXIT.done;
}

/** One look at the policy as it is on disk. */
interface Round {
  readonly at: Date;
  readonly durationMs: number;
  /** How long each step took; steps run side by side. */
  readonly steps: Readonly<Record<string, number>>;
  /** Why the files could not be read. */
  readonly unreadable?: string;
  readonly digest?: string;
  readonly problems: readonly ShownProblem[];
  /** Absent when the policy does not compile. */
  readonly tests?: { readonly verdict: TestVerdict; readonly text: string };
  readonly replayed?: ReplayReport;
}

interface RoundOptions extends Options {
  readonly signal: AbortSignal;
  readonly state: PolicyState;
  readonly records?: readonly DecisionRecord[];
}

async function runRound(tools: PolicyTools, path: string, options: RoundOptions): Promise<Round> {
  const at = new Date();
  const began = performance.now();
  const steps: Record<string, number> = {};
  const timed = async <T>(step: string, work: Promise<T>): Promise<T> => {
    const from = performance.now();
    const done = await work;
    steps[step] = Math.round(performance.now() - from);
    return done;
  };
  const finish = (found: Omit<Round, 'at' | 'durationMs' | 'steps'>): Round => {
    return { at, durationMs: Math.round(performance.now() - began), steps, ...found };
  };
  const { state: snapshot, entrypoint, signal } = options;
  if (snapshot instanceof SvidgateError) return finish({ unreadable: describeError(snapshot), problems: [] });
  const { digest } = snapshot;
  const opening = timed('build', tools.open(snapshot, { entrypoint, description: path, signal }));
  // It is awaited below; what refuses it may come before that.
  opening.catch(() => undefined);
  try {
    const problems = await timed('check', findProblems(tools, snapshot, { entrypoint, signal }));
    const tests = await timed('test', runTests(tools, path, { snapshot, signal }));
    const replayed = await replayWith(await opening, options, timed);
    return finish({ digest, problems, tests, ...(replayed === undefined ? {} : { replayed }) });
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof SvidgateError && error.code === 'policy_invalid')) throw error;
    const problems = await findProblems(tools, snapshot, { entrypoint, signal });
    return finish({ digest, problems });
  } finally {
    await opening.then((policy) => policy[Symbol.asyncDispose]()).catch(() => undefined);
  }
}

async function replayWith(
  policy: OpenedPolicy,
  { records, name, signal }: RoundOptions,
  timed: <T>(step: string, work: Promise<T>) => Promise<T>,
): Promise<ReplayReport | undefined> {
  if (records === undefined) return undefined;
  const only = name === undefined ? {} : { policy: name };
  return await timed('replay', replay(eachOf(records), policy, { signal, samples: 3, ...only }));
}

async function* eachOf(records: readonly DecisionRecord[]): AsyncGenerator<DecisionRecord> {
  await Promise.resolve();
  yield* records;
}

async function runTests(
  tools: PolicyTools,
  path: string,
  { snapshot, signal }: { readonly snapshot: PolicySnapshot; readonly signal: AbortSignal },
): Promise<{ readonly verdict: TestVerdict; readonly text: string }> {
  const run = await tools.test(snapshot, { signal });
  if (run.kind === 'refused') {
    const text = run.problems.map((problem) => formatShownProblem(path, { ...problem, severity: 'error' })).join('');
    return { verdict: { passed: 0, failed: 0, skipped: 0, failure: 'the tests do not compile' }, text };
  }
  const verdict = judgeTests(run, { coverage: false });
  // A policy without tests is no failure while it is being written.
  const { failure: _, ...counts } = verdict;
  return { verdict: run.tests.length === 0 ? counts : verdict, text: formatTestRun(path, run, verdict) };
}

async function newestRecords(
  from: readonly string[],
  { terminal, signal }: Options & { readonly signal: AbortSignal },
): Promise<readonly DecisionRecord[]> {
  const say = createProgress(terminal);
  let newest: DecisionRecord[] = [];
  const onProgress = ({ records }: { readonly records: number }): void =>
    say(() => `${thousands(records)} records read`);
  for await (const record of readRecords(from, { signal, onProgress })) {
    newest.push(record);
    if (newest.length >= 2 * MAX_RECORDS) newest = newest.slice(-MAX_RECORDS);
  }
  return newest.slice(-MAX_RECORDS);
}

function print(path: string, round: Round, { output, terminal }: Options): void {
  const { at, durationMs, steps, unreadable, digest = '', problems, tests, replayed } = round;
  const isOk = isGood(round);
  const report =
    replayed === undefined
      ? undefined
      : { report: replayed, digest, verdict: undefined, gaps: [] as readonly string[] };
  if (output === 'json') {
    const line = {
      at: at.toISOString(),
      ok: isOk,
      duration_ms: durationMs,
      steps_ms: steps,
      ...(unreadable === undefined ? { policy_digest: digest } : { error: unreadable }),
      problems,
      ...(tests === undefined ? {} : { tests: tests.verdict }),
      ...(report === undefined ? {} : { replay: replayReportJson(report) }),
    };
    terminal.out(`${JSON.stringify(line)}\n`);
    return;
  }
  const took = Object.entries(steps).map(([step, ms]) => `${step} ${ms} ms`);
  terminal.out(
    [
      `--- ${at.toTimeString().slice(0, 8)} ${path} ${digest.slice(0, 12)}\n`,
      unreadable === undefined ? '' : `${unreadable}\n`,
      ...problems.map((problem) => formatShownProblem(path, problem)),
      problems.length === 0 ? '' : `${countProblems(problems)}\n`,
      tests?.text ?? '',
      report === undefined ? '' : formatReplayReport(report),
      `${isOk ? 'ok' : 'not ok'} after ${durationMs} ms (${took.join(', ')})\n`,
    ].join(''),
  );
}

function isGood({ unreadable, problems, tests }: Round): boolean {
  if (unreadable !== undefined || tests === undefined || tests.verdict.failure !== undefined) return false;
  return !problems.some(({ severity }) => severity === 'error');
}
