import { Buffer } from 'node:buffer';
import type { Clock } from '../../core/index.ts';
import { offeredBuiltins, REDIRECTED_BUILTINS, WITHHELD_BUILTINS } from '../builtins/offered.ts';
import type { NdBuiltinCache } from '../evaluation.ts';
import { openPolicy, snapshotSource, type OpenedPolicy } from '../open-policy.ts';
import type { PolicyProblem } from '../problem.ts';
import { createRegoCompiler, type PolicyFiles, type PolicyTest } from '../rego-compiler.ts';
import { createRegoProgram, type RegoProgram } from '../rego-program.ts';
import { pathSource } from '../path-source.ts';
import type { PolicySnapshot, SnapshotSource } from '../snapshot-source.ts';
import type { PolicyExplanation } from './explanation.ts';

export interface Refused {
  readonly kind: 'refused';
  readonly problems: readonly PolicyProblem[];
}

/** What compiles and is probably not meant. */
export interface PolicyFinding extends PolicyProblem {
  readonly remedy: string;
}

/** A text in the Rego of a policy that begins with `spiffe://`. */
export interface SpiffeLiteral {
  readonly text: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** It is the beginning of others, or a pattern. */
  readonly isPrefix: boolean;
}

export interface CheckedSource {
  readonly kind: 'checked';
  /** What OPA's strict mode refuses. */
  readonly warnings: readonly PolicyProblem[];
  readonly findings: readonly PolicyFinding[];
  readonly literals: readonly SpiffeLiteral[];
}

export interface FileCoverage {
  readonly file: string;
  /** Lines that tests evaluate, of those with something to evaluate. */
  readonly covered: number;
  readonly total: number;
  /** First and last line of each stretch that no test evaluates. */
  readonly uncovered: readonly (readonly [number, number])[];
}

export interface TestRun {
  readonly kind: 'ran';
  readonly tests: readonly PolicyTest[];
  /** By file, without the tests themselves; empty unless asked for. */
  readonly coverage: readonly FileCoverage[];
}

export interface TestOptions {
  readonly coverage?: boolean;
  /** Regular expression of RE2; tests whose package and name match are run. */
  readonly run?: string;
  readonly signal: AbortSignal;
}

export interface PackOptions {
  readonly revision: string;
  readonly signing?: BundleSigning;
  readonly signal: AbortSignal;
}

export interface BundleSigning {
  /** PEM of a private key, or the secret of HS256, HS384 and HS512. */
  readonly key: string;
  /** As JWS names it: RS256, ES256, … */
  readonly algorithm: string;
  readonly keyId: string;
  /** What verifiers with a scope ask for. */
  readonly scope?: string;
}

/** One evaluation that is made again. */
export interface PolicyQuestion {
  readonly entrypoint: string;
  /** JSON text of the input. */
  readonly input: string;
  /** Nanoseconds since 1970. */
  readonly nowNs: bigint;
  /** See EvaluationOptions. */
  readonly nd?: NdBuiltinCache;
  readonly signal: AbortSignal;
}

export type ReferenceAnswer =
  | { readonly kind: 'value'; readonly json: string; readonly printed: readonly string[] }
  | { readonly kind: 'undefined'; readonly printed: readonly string[] }
  | Refused;

/** What people do with policies, done by OPA's own code in the compiler's program: see tools/rego-compiler. */
export interface PolicyTools {
  /** A folder, a .rego file or an OPA bundle without signatures. */
  source(path: string): SnapshotSource;
  /** See openPolicy. */
  open(snapshot: PolicySnapshot, options: OpenOptions): Promise<OpenedPolicy>;
  /**
   * What a policy that compiles does and is probably not meant.
   * @param schema JSON schema of the input document
   */
  check(files: PolicyFiles, question: CheckQuestion): Promise<CheckedSource | Refused>;
  /** Runs the tests with OPA's runner. They may call any builtin of OPA. */
  test(snapshot: Pick<PolicySnapshot, 'files' | 'tests'>, options: TestOptions): Promise<TestRun | Refused>;
  /** A bundle as OPA's `build` makes it, with the tests in it: equal bytes for equal files, but for signatures by ECDSA. */
  pack(
    snapshot: Pick<PolicySnapshot, 'files' | 'tests'>,
    entrypoint: string,
    options: PackOptions,
  ): Promise<{ readonly kind: 'packed'; readonly bytes: Uint8Array } | Refused>;
  /** The module as OPA's `build -t wasm` makes it: its builtins are those of any host. */
  module(
    files: PolicyFiles,
    entrypoint: string,
    signal: AbortSignal,
  ): Promise<{ readonly kind: 'built'; readonly wasm: Uint8Array } | Refused>;
  /** The value by OPA's own evaluator, and what print() wrote: `file:line: text`. */
  evaluate(files: PolicyFiles, question: PolicyQuestion): Promise<ReferenceAnswer>;
  /**
   * Why the policy answers as it does.
   * @param masked JSON pointers below the input whose values are not the real ones
   */
  explain(
    files: PolicyFiles,
    question: PolicyQuestion & { readonly masked: readonly string[] },
  ): Promise<{ readonly kind: 'explained'; readonly explanation: PolicyExplanation } | Refused>;
}

export interface OpenOptions {
  readonly entrypoint: string;
  /** What the policy is called in errors. */
  readonly description: string;
  readonly signal: AbortSignal;
}

export interface CheckQuestion {
  readonly entrypoint: string;
  readonly schema: unknown;
  readonly signal: AbortSignal;
}

export interface PolicyToolsOptions {
  readonly clock: Clock;
  /** Default: one of its own that may take 30 s. */
  readonly program?: RegoProgram;
}

const TIME_LIMIT_MS = 30_000;

/** Tools let a policy call what asks the network: whether the server does is for its configuration to say. */
const BUILTINS = { builtins: offeredBuiltins(true), withheld: WITHHELD_BUILTINS };

export function createPolicyTools({ clock, program }: PolicyToolsOptions): PolicyTools {
  const runner = program ?? createRegoProgram({ clock, timeLimitMs: TIME_LIMIT_MS });
  const compiler = createRegoCompiler({ clock, builtins: BUILTINS.builtins, program: runner });
  const ask: Ask = async (request, signal, read) => {
    const response = (await runner.run({ ...BUILTINS, redirected: REDIRECTED_BUILTINS, ...request }, signal)) as
      ToolResponse | { readonly ok: false; readonly errors: readonly PolicyProblem[] };
    return response.ok ? read(response) : { kind: 'refused', problems: response.errors };
  };
  return {
    source(path) {
      return pathSource(path, { clock, program: runner });
    },
    async open(snapshot, { description, entrypoint, signal }) {
      const path = snapshotSource(description, snapshot);
      return await openPolicy({ path, entrypoint, compiler, clock, signal });
    },
    ...buildingTools(ask),
    ...testingTools(ask),
    ...evaluatingTools(ask),
  };
}

type Ask = <T>(request: object, signal: AbortSignal, read: (response: ToolResponse) => T) => Promise<T | Refused>;

function buildingTools(ask: Ask): Pick<PolicyTools, 'pack' | 'module'> {
  return {
    pack({ files, tests }, entrypoint, { revision, signing, signal }) {
      const pack = { revision, tests, signing: signing ?? null };
      const request = { op: 'pack', ...files, entrypoints: [entrypoint], pack };
      return ask(request, signal, ({ packed = '' }) => ({ kind: 'packed', bytes: Buffer.from(packed, 'base64') }));
    },
    module(files, entrypoint, signal) {
      const request = { op: 'build', ...files, entrypoints: [entrypoint], redirected: [] };
      return ask(request, signal, ({ wasm = '' }) => ({ kind: 'built', wasm: Buffer.from(wasm, 'base64') }));
    },
  };
}

function testingTools(ask: Ask): Pick<PolicyTools, 'check' | 'test'> {
  return {
    check(files, { entrypoint, schema, signal }) {
      const request = { op: 'check', ...files, entrypoints: [entrypoint], schema: JSON.stringify(schema) };
      return ask(request, signal, ({ warnings = [], findings = [], literals = [] }) => {
        return { kind: 'checked', warnings, findings, literals };
      });
    },
    test({ files, tests }, { coverage = false, run = '', signal }) {
      const modules = { ...files.modules, ...tests };
      const request = { op: 'test', modules, data: files.data, coverage, run };
      return ask(request, signal, ({ tests: ran = [], coverage: found = [] }) => {
        return { kind: 'ran', tests: ran, coverage: found };
      });
    },
  };
}

function evaluatingTools(ask: Ask): Pick<PolicyTools, 'evaluate' | 'explain'> {
  const fieldsOf = ({ entrypoint, input, nowNs, nd = {} }: PolicyQuestion): object => {
    return { entrypoints: [entrypoint], input, nowNs: String(nowNs), nd };
  };
  return {
    evaluate(files, question) {
      const request = { op: 'eval', ...files, ...fieldsOf(question) };
      return ask<ReferenceAnswer>(request, question.signal, ({ value, printed = [] }) =>
        value === undefined ? { kind: 'undefined', printed } : { kind: 'value', json: value, printed },
      );
    },
    explain(files, question) {
      const request = { op: 'explain', ...files, ...fieldsOf(question), masked: question.masked };
      return ask(request, question.signal, ({ explanation = { outcome: 'error' } }) => {
        return { kind: 'explained', explanation };
      });
    },
  };
}

interface ToolResponse {
  readonly ok: true;
  readonly wasm?: string;
  readonly warnings?: readonly PolicyProblem[];
  readonly findings?: readonly PolicyFinding[];
  readonly literals?: readonly SpiffeLiteral[];
  readonly tests?: readonly PolicyTest[];
  readonly coverage?: readonly FileCoverage[];
  readonly packed?: string;
  readonly value?: string;
  readonly printed?: readonly string[];
  readonly explanation?: PolicyExplanation;
}
