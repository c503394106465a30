import { systemClock } from '../../core/index.ts';
import { recordedEvaluation } from '../../evidence/index.ts';
import {
  createPolicyTools,
  decisionOf,
  type Decision,
  type NdBuiltinCache,
  type PolicySnapshot,
  type PolicyTools,
} from '../../policy/index.ts';
import { wrongUsage } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { EvalFlags, ToolOptions } from '../groups/policy-tools.ts';
import { readInput } from '../input-text.ts';
import { printRefused } from '../policy-problems.ts';
import { findDecision } from '../recorded-decision.ts';
import { visibleLines } from '../visible-text.ts';

type Options = EvalFlags & ToolOptions;

const MAX_INPUT_BYTES = 64 * 1024 * 1024;

interface Question {
  readonly input: string;
  readonly nowNs: bigint;
  readonly nd?: NdBuiltinCache;
  readonly masked: readonly string[];
}

/** How an evaluation ended, whoever made it. */
interface Answer {
  readonly decision: Decision;
  /** Of the entrypoint; absent when undefined or failed. */
  readonly value?: unknown;
}

/** `policy eval`: exit code 0 whatever the decision is. */
export async function evalPolicy(path: string, options: Options): Promise<ExitCode> {
  const { terminal, entrypoint, reference = false } = options;
  const { signal } = new AbortController();
  const question = await readQuestion(options);
  const tools = createPolicyTools({ clock: systemClock });
  const snapshot = await tools.source(path).read(signal);
  const byOpa = await askReference(tools, snapshot, { ...question, entrypoint, signal });
  if ('problems' in byOpa) return printRefused(path, { kind: 'refused', problems: byOpa.problems }, options);
  const compiled = reference
    ? undefined
    : await askCompiled(tools, snapshot, { ...question, entrypoint, path, signal });
  print(compiled ?? byOpa, { ...options, printed: byOpa.printed, digest: snapshot.digest });
  for (const pointer of question.masked) terminal.err(`the record does not have the value of ${pointer}\n`);
  if (compiled !== undefined && compiled.decision.effect !== byOpa.decision.effect) {
    terminal.err("OPA's own evaluator decides otherwise: see --reference\n");
  }
  return EXIT.done;
}

async function readQuestion(options: Options): Promise<Question> {
  const { input, decision } = options;
  if ((input === undefined) === (decision === undefined)) {
    throw wrongUsage('which input? One of --input FILE and --decision ID');
  }
  if (input !== undefined) {
    const text = await readInput(input, MAX_INPUT_BYTES);
    try {
      JSON.parse(text);
    } catch (error) {
      throw wrongUsage(`${input} is not JSON: ${error instanceof Error ? error.message : 'unreadable'}`);
    }
    return { input: text, nowNs: BigInt(Date.now()) * 1_000_000n, masked: [] };
  }
  const recorded = recordedEvaluation(await findDecision(decision ?? '', options));
  if (recorded === undefined) throw wrongUsage(`decision ${decision} was made without a policy: it has no input`);
  return recorded;
}

interface Asked extends Question {
  readonly entrypoint: string;
  readonly signal: AbortSignal;
}

async function askCompiled(
  tools: PolicyTools,
  snapshot: PolicySnapshot,
  { input, nd, entrypoint, path, signal }: Asked & { readonly path: string },
): Promise<Answer> {
  await using policy = await tools.open(snapshot, { entrypoint, description: path, signal });
  const ask = { signal, ...(nd === undefined ? {} : { nd }) };
  const evaluation = await policy.evaluate(new TextEncoder().encode(input), ask);
  return {
    decision: decisionOf({ policy: '', digest: snapshot.digest }, evaluation),
    ...(evaluation.kind === 'value' ? { value: evaluation.value } : {}),
  };
}

type ReferenceResult =
  | (Answer & { readonly printed: readonly string[] })
  | { readonly problems: Extract<Awaited<ReturnType<PolicyTools['evaluate']>>, { kind: 'refused' }>['problems'] };

/** Also what print() wrote, which compiled policies do not. */
async function askReference(tools: PolicyTools, snapshot: PolicySnapshot, asked: Asked): Promise<ReferenceResult> {
  const answer = await tools.evaluate(snapshot.files, asked);
  const source = { policy: '', digest: snapshot.digest };
  switch (answer.kind) {
    case 'value': {
      const value = JSON.parse(answer.json) as unknown;
      return { decision: decisionOf(source, { kind: 'value', value }), value, printed: answer.printed };
    }
    case 'undefined':
      return { decision: decisionOf(source, { kind: 'undefined' }), printed: answer.printed };
    case 'refused': {
      const failed = answer.problems.find(({ code }) => EVALUATION_ERRORS.has(code));
      if (failed === undefined) return { problems: answer.problems };
      return { decision: decisionOf(source, { kind: 'error', message: failed.message }), printed: [] };
    }
  }
}

/** What an evaluation ends with, rather than the compiler. */
const EVALUATION_ERRORS: ReadonlySet<string> = new Set(['build_failed']);

function print(
  { decision, value }: Answer,
  options: Options & { readonly printed: readonly string[]; readonly digest: string },
): void {
  const { output, terminal, printed, digest } = options;
  const { effect, effects } = decision;
  const failure = decision.effect === 'deny' ? decision : undefined;
  if (output === 'json') {
    const why = failure === undefined ? {} : { reason: failure.reason, detail: failure.detail };
    terminal.out(`${JSON.stringify({ decision: effect, ...why, value, effects, policy_digest: digest, printed })}\n`);
    return;
  }
  for (const line of printed) terminal.err(`${visibleLines(line)}\n`);
  const detail = failure?.detail === undefined ? '' : `: ${visibleLines(failure.detail)}`;
  terminal.out(failure === undefined ? 'allow\n' : `deny, ${failure.reason}${detail}\n`);
  if (typeof value === 'object' && value !== null) terminal.out(`${JSON.stringify(value, byName, 2)}\n`);
}

/** A policy gives the keys of an object in no order. */
function byName(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
}
