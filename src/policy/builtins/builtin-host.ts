import { Buffer } from 'node:buffer';
import type { NetworkLimits, Resumption, Suspension } from '../evaluator-protocol.ts';
import type { NdBuiltinCache } from '../evaluation.ts';
import { NATIVE_BUILTINS } from './native-builtins.ts';
import { NdBook, type NdAnswers } from './nd-book.ts';
import { NETWORK_BUILTINS, OFFERED_BUILTINS, REDIRECTED_BUILTINS, REDIRECTED_PREFIX } from './offered.ts';
import { createOpaBuiltins, type BuiltinAnswer } from './opa-builtins.ts';

/** What answers the builtins that a compiled policy asks its host for. One for each thread; not re-entrant. */
export interface BuiltinHost {
  /** Takes the builtins of a module. Throws when one is not offered. */
  prepare(names: readonly string[]): void;
  /** Whether the module may call builtins that OPA's own program answers. */
  readonly needsProgram: boolean;
  /** Starts that program, as OpaBuiltins does; without it the first call does. */
  start(program?: WebAssembly.Module): void;
  /**
   * The next call is the first of an evaluation, of one that goes on, or of one that is made again with what builtins
   * answered in an earlier one.
   */
  begin(resumption?: Resumption, nd?: NdBuiltinCache): void;
  /**
   * Runs a builtin, on the text of an array of arguments as opa_value_dump writes them. The answer is valid until the
   * next call. Throws where the evaluation must fail; what OPA's builtins refuse is undefined instead.
   */
  call(name: string, argumentsText: Uint8Array): BuiltinAnswer;
  /** Why the evaluation has to be given up; from there on every builtin is undefined. */
  readonly suspension: Suspension | undefined;
  /** What this evaluation got so far that its arguments alone do not give; undefined when it asked for nothing of the kind. */
  readonly ndAnswers: NdAnswers | undefined;
}

export interface BuiltinHostOptions {
  /** Time of an evaluation, in nanoseconds since 1970. Default: the system clock. */
  readonly now?: () => bigint;
  /** Absent: policies ask nobody, and those that would are refused. */
  readonly network?: NetworkLimits;
}

const NS_PER_MS = 1_000_000n;
const UTF8 = new TextEncoder();
const OFFERED: ReadonlySet<string> = new Set([
  ...OFFERED_BUILTINS,
  ...REDIRECTED_BUILTINS.map((name) => `${REDIRECTED_PREFIX}${name}`),
]);

export function createBuiltinHost(options: BuiltinHostOptions = {}): BuiltinHost {
  const { now = () => BigInt(Date.now()) * NS_PER_MS, network } = options;
  const opa = createOpaBuiltins(network);
  const book = new NdBook();
  /** Of the evaluation that runs, from its first call on. */
  let nowNs: bigint | undefined;
  let isBegun = false;
  let needsProgram = false;
  let resumption: Resumption | undefined;
  let suspension: Suspension | undefined;
  const askOpa: (...call: Parameters<typeof askHere>) => ReturnType<typeof opa.call> = (
    name,
    argumentsText,
    timeNs,
  ) => {
    if (!isBegun) opa.begin(timeNs, resumption);
    isBegun = true;
    return opa.call(name, argumentsText);
  };
  return {
    get suspension() {
      return suspension;
    },
    get ndAnswers() {
      return book.answers;
    },
    get needsProgram() {
      return needsProgram;
    },
    start: (program) => opa.start(program),
    prepare(names) {
      assertOffered(names, network);
      needsProgram = names.map(withoutPrefix).some(needsOpa);
    },
    begin(given, nd) {
      book.begin(nd);
      // Without a time, what depends on it fails.
      nowNs = given?.nowNs ?? (nd === undefined ? undefined : (book.givenTime ?? 0n));
      resumption = given;
      suspension = undefined;
      isBegun = false;
    },
    call(name, argumentsText) {
      if (suspension !== undefined) return { kind: 'undefined' };
      const recalled = book.recall(name, argumentsText);
      if (recalled !== undefined) return recalled;
      nowNs ??= now();
      const plain = withoutPrefix(name);
      const answer = askHere(plain, argumentsText, nowNs) ?? askOpa(plain, argumentsText, nowNs);
      if (answer.kind === 'suspended') {
        suspension = { nowNs, ...parseSuspended(answer.text) };
        return { kind: 'undefined' };
      }
      book.note(plain, argumentsText, { answer, nowNs });
      return answer;
    },
  };
}

function assertOffered(names: readonly string[], network: NetworkLimits | undefined): void {
  const missing = names.filter(
    (name) => !OFFERED.has(name) && (network === undefined || !NETWORK_BUILTINS.includes(name)),
  );
  if (missing.length === 0) return;
  throw new Error(`the module needs builtins that svidgate does not offer: ${missing.join(', ')}`);
}

function parseSuspended(text: Uint8Array): Omit<Suspension, 'nowNs'> {
  return JSON.parse(new TextDecoder().decode(text)) as Omit<Suspension, 'nowNs'>; // the program's own writing
}

function withoutPrefix(name: string): string {
  return name.startsWith(REDIRECTED_PREFIX) ? name.slice(REDIRECTED_PREFIX.length) : name;
}

/** Whether some calls go to OPA's own. */
function needsOpa(name: string): boolean {
  return name !== 'time.now_ns' && NATIVE_BUILTINS.get(name)?.isComplete !== true;
}

/** Undefined where OPA's own has to answer. */
function askHere(name: string, argumentsText: Uint8Array, nowNs: bigint): BuiltinAnswer | undefined {
  if (name === 'time.now_ns') return { kind: 'value', text: UTF8.encode(String(nowNs)) };
  const builtin = NATIVE_BUILTINS.get(name);
  if (builtin === undefined) return undefined;
  const { buffer, byteOffset, byteLength } = argumentsText;
  const native = builtin.answer(Buffer.from(buffer, byteOffset, byteLength).toString('latin1'));
  if (native === 'ask_opa') return undefined;
  return native === 'undefined' ? { kind: native } : { kind: 'value', text: Buffer.from(native.text, 'latin1') };
}
