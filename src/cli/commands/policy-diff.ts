import { systemClock } from '../../core/index.ts';
import { policyDifference, readRecords, recordedInputs, type ComparedPolicy } from '../../evidence/index.ts';
import { evaluateGrants, pathSource, openPolicy, snapshotSource } from '../../policy/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { differenceJson, formatDifference } from '../difference-view.ts';
import type { DiffFlags } from '../groups/policy-records.ts';
import { createProgress } from '../progress.ts';
import type { OutputFormat, Terminal } from '../terminal.ts';
import { thousands } from '../thousands.ts';

type Options = DiffFlags & { readonly output: OutputFormat; readonly terminal: Terminal };

interface OpenedSide extends ComparedPolicy, AsyncDisposable {}

/** `policy diff` */
export async function diffPolicies(paths: readonly [string, string], options: Options): Promise<ExitCode> {
  const { from = [], name, seed, tries, samples, output, terminal } = options;
  const { signal } = new AbortController();
  const say = createProgress(terminal);
  await using before = await openSide(paths[0], options.entrypoint, signal);
  await using after = await openSide(paths[1], options.entrypoint, signal);
  const report = await policyDifference(before, after, {
    inputs: from.length === 0 ? [] : await recordedInputs(readRecords(from, { signal }), { policy: name, seed }),
    nowNs: BigInt(Date.now()) * 1_000_000n,
    seed,
    tries,
    samples,
    signal,
    onTried: (tried) => say(() => `${thousands(tried)} of ${thousands(tries)} requests tried`),
  });
  terminal.out(output === 'json' ? `${JSON.stringify(differenceJson(report))}\n` : formatDifference(report));
  return report.different === 0 ? EXIT.done : EXIT.failed;
}

async function openSide(path: string, entrypoint: string, signal: AbortSignal): Promise<OpenedSide> {
  const snapshot = await pathSource(path, { clock: systemClock }).read(signal);
  const policy = await openPolicy({ path: snapshotSource(path, snapshot), entrypoint, signal });
  try {
    const grants = await evaluateGrants({ snapshot, entrypoint, signal });
    return { policy, grants, [Symbol.asyncDispose]: () => policy[Symbol.asyncDispose]() };
  } catch (error) {
    await policy[Symbol.asyncDispose]();
    throw error;
  }
}
