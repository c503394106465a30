import { SvidgateError, systemClock } from '../../core/index.ts';
import { createPolicyTools, type PolicySnapshot, type PolicyTools } from '../../policy/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { TestFlags, ToolOptions } from '../groups/policy-tools.ts';
import { printRefused } from '../policy-problems.ts';
import { policyStates } from '../policy-states.ts';
import { formatTestRun, judgeTests } from '../policy-test-view.ts';
import { reportFailure } from '../run-cli.ts';
import { untilInterrupted } from '../until-interrupted.ts';

type Options = TestFlags & ToolOptions;

/** `policy test` */
export async function testPolicy(path: string, options: Options): Promise<ExitCode> {
  const tools = createPolicyTools({ clock: systemClock });
  if (options.watch !== true) {
    const { signal } = new AbortController();
    return await testOnce(tools, path, { options, signal, snapshot: await tools.source(path).read(signal) });
  }
  await untilInterrupted(async (signal) => {
    for await (const snapshot of policyStates(tools, path, signal)) {
      if (snapshot instanceof SvidgateError) reportFailure(snapshot, options.terminal);
      else await testOnce(tools, path, { options, signal, snapshot });
    }
  });
  return EXIT.done;
}

interface Context {
  readonly options: Options;
  readonly signal: AbortSignal;
  readonly snapshot: PolicySnapshot;
}

async function testOnce(tools: PolicyTools, path: string, { options, signal, snapshot }: Context): Promise<ExitCode> {
  const { threshold, run: pattern, output, terminal } = options;
  const coverage = options.coverage === true || threshold !== undefined;
  const run = await tools.test(snapshot, { coverage, ...(pattern === undefined ? {} : { run: pattern }), signal });
  if (run.kind === 'refused') return printRefused(path, run, options);
  const verdict = judgeTests(run, { coverage, ...(threshold === undefined ? {} : { threshold }) });
  const { failure, ...counts } = verdict;
  if (output === 'json') {
    const files = coverage ? { files: run.coverage } : {};
    terminal.out(`${JSON.stringify({ ok: failure === undefined, ...counts, tests: run.tests, ...files })}\n`);
  } else {
    terminal.out(formatTestRun(path, run, verdict));
  }
  if (failure === undefined) return EXIT.done;
  terminal.err(`${failure}\n`);
  return EXIT.failed;
}
