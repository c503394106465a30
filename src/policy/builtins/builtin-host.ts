import { Buffer } from 'node:buffer';
import type { NetworkLimits, Resumption, Suspension } from '../evaluator-protocol.ts';
import { NATIVE_BUILTINS, type NativeAnswer } from './native-builtins.ts';
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
  /** The next call is the first of an evaluation, or of one that goes on. */
  begin(resumption?: Resumption): void;
  /**
   * Runs a builtin, on the text of an array of arguments as opa_value_dump writes them. The answer is valid until the
   * next call. Throws where the evaluation must fail; what OPA's builtins refuse is undefined instead.
   */
  call(name: string, argumentsText: Uint8Array): BuiltinAnswer;
  /** Why the evaluation has to be given up; from there on every builtin is undefined. */
  readonly suspension: Suspension | undefined;
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
  const offers = (name: string): boolean =>
    OFFERED.has(name) || (network !== undefined && NETWORK_BUILTINS.includes(name));
  /** Of the evaluation that runs, from its first call on. */
  let nowNs: bigint | undefined;
  let isBegun = false;
  let needsProgram = false;
  let resumption: Resumption | undefined;
  let suspension: Suspension | undefined;
  return {
    get suspension() {
      return suspension;
    },
    get needsProgram() {
      return needsProgram;
    },
    start: (program) => opa.start(program),
    prepare(names) {
      const missing = names.filter((name) => !offers(name));
      if (missing.length > 0) {
        throw new Error(`the module needs builtins that svidgate does not offer: ${missing.join(', ')}`);
      }
      needsProgram = names.map(withoutPrefix).some(needsOpa);
    },
    begin(given) {
      nowNs = given?.nowNs;
      resumption = given;
      suspension = undefined;
      isBegun = false;
    },
    call(name, argumentsText) {
      if (suspension !== undefined) return { kind: 'undefined' };
      nowNs ??= now();
      if (name === 'time.now_ns') return { kind: 'value', text: UTF8.encode(String(nowNs)) };
      const plain = withoutPrefix(name);
      const native = askNative(plain, argumentsText);
      if (native === 'undefined') return { kind: 'undefined' };
      if (native !== 'ask_opa') return { kind: 'value', text: Buffer.from(native.text, 'latin1') };
      if (!isBegun) opa.begin(nowNs, resumption);
      isBegun = true;
      const answer = opa.call(plain, argumentsText);
      if (answer.kind !== 'suspended') return answer;
      suspension = { nowNs, ...parseSuspended(answer.text) };
      return { kind: 'undefined' };
    },
  };
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

function askNative(name: string, argumentsText: Uint8Array): NativeAnswer {
  const native = NATIVE_BUILTINS.get(name);
  if (native === undefined) return 'ask_opa';
  return native.answer(
    Buffer.from(argumentsText.buffer, argumentsText.byteOffset, argumentsText.byteLength).toString('latin1'),
  );
}
