import { WASI } from 'node:wasi';
import type { NetworkLimits, Resumption } from '../evaluator-protocol.ts';
import { createStandardStreams, type StandardStreams } from '../wasi-streams.ts';
import { compileBuiltinsProgram } from './builtins-program.ts';

/** The answer of a builtin, in memory that the next call may overwrite. */
export type BuiltinAnswer =
  /** It failed or has no value: the expression is undefined. */
  | { readonly kind: 'undefined' }
  /** `text` is the value as opa_value_parse reads it: JSON with sets. */
  | { readonly kind: 'value'; readonly text: Uint8Array }
  /** A string that is not UTF-8, as it is. */
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array };

/** It needs an exchange with the network: which, and what chance gave so far, as JSON. */
export interface SuspendedCall {
  readonly kind: 'suspended';
  readonly text: Uint8Array;
}

/** OPA's own builtins, built for WASI from tools/rego-compiler/builtins. Not re-entrant. */
export interface OpaBuiltins {
  /**
   * Starts the program, which takes some ten milliseconds, unless it runs. Without a module it is read and compiled,
   * which takes longer; throws when it cannot be read.
   */
  start(module?: WebAssembly.Module): void;
  /**
   * Starts an evaluation at a time, in nanoseconds since 1970: what was cached for the one before is dropped. With what
   * one goes on that was given up.
   */
  begin(nowNs: bigint, resumption?: Resumption): void;
  /**
   * Runs a builtin on the text of an array of arguments. Throws where OPA would have given an answer or stopped, as when
   * it runs out of memory: the evaluation must fail.
   */
  call(name: string, argumentsText: Uint8Array): BuiltinAnswer | SuspendedCall;
}

/**
 * Above this, and twice what it keeps of responses, it is started anew after the evaluation: memory never shrinks by
 * itself.
 */
const RECYCLE_BYTES = 128 * 2 ** 20;
/** Values take up to forty times their text. */
const MAX_ARGUMENT_BYTES = 4 * 2 ** 20;
const MAX_ANSWER_BYTES = 8 * 2 ** 20;
const MAX_MESSAGE_BYTES = 1000;
/** The first byte of an answer. */
const ANSWERS = ['undefined', 'value', 'bytes', 'fault', 'suspended'] as const;

interface ProgramExports {
  readonly memory: WebAssembly.Memory;
  readonly begin: (nowNs: bigint) => void;
  readonly reserve: (size: number) => number;
  readonly call: (nameSize: number) => number;
  readonly result: () => number;
  readonly resume: () => number;
  readonly limitResponses: (bytes: number) => void;
}

/** `network`: absent where nothing may be asked; the caller lets no builtin of that kind through then. */
export function createOpaBuiltins(network?: NetworkLimits): OpaBuiltins {
  const encoder = new TextEncoder();
  const recycleBytes = RECYCLE_BYTES + 2 * (network?.responseCacheBytes ?? 0);
  let module: WebAssembly.Module | undefined;
  let running: RunningProgram | undefined;
  const start = (): RunningProgram => {
    module ??= compileBuiltinsProgram();
    if (running === undefined) {
      running = startProgram(module);
      if (network !== undefined) running.exports.limitResponses(network.responseCacheBytes);
    }
    return running;
  };
  /** What was thrown left the program in the middle of a call: it is never used again. */
  const guarded = <T>(use: (program: ProgramExports) => T): T => {
    const program = start();
    try {
      return use(program.exports);
    } catch (error) {
      running = undefined;
      throw new Error(describeEnd(program.streams, error), { cause: error });
    }
  };
  return {
    start(given) {
      module ??= given;
      start();
    },
    begin(nowNs, resumption) {
      if (running !== undefined && running.exports.memory.buffer.byteLength > recycleBytes) running = undefined;
      guarded((program) => {
        program.begin(nowNs);
        if (resumption === undefined) return;
        const { exchanges, chance } = resumption;
        write(program, encoder.encode(JSON.stringify({ exchanges, chance })));
        if (program.resume() !== 0) throw new Error('an evaluation cannot go on');
      });
    },
    call(name, argumentsText) {
      if (argumentsText.byteLength > MAX_ARGUMENT_BYTES) {
        throw new Error(`the arguments of ${name} are larger than ${MAX_ARGUMENT_BYTES} bytes`);
      }
      const nameBytes = encoder.encode(name);
      const answer = guarded((program) => {
        write(program, nameBytes, argumentsText);
        const size = program.call(nameBytes.length);
        return new Uint8Array(program.memory.buffer, program.result(), size);
      });
      return readAnswer(name, answer);
    },
  };
}

/** Puts the pieces, one after the other, where the program looks for a request. */
function write({ memory, reserve }: ProgramExports, ...pieces: readonly Uint8Array[]): void {
  const address = reserve(pieces.reduce((sum, piece) => sum + piece.length, 0));
  const request = new Uint8Array(memory.buffer, address);
  let at = 0;
  for (const piece of pieces) {
    request.set(piece, at);
    at += piece.length;
  }
}

interface RunningProgram {
  readonly exports: ProgramExports;
  readonly streams: StandardStreams;
}

function startProgram(module: WebAssembly.Module): RunningProgram {
  const wasi = new WASI({ version: 'preview1', args: ['rego-builtins'], env: {}, preopens: {} });
  const streams = createStandardStreams(new Uint8Array(), 0);
  const exit = (code: number): never => {
    throw new Error(`it ended with ${code}`);
  };
  const imports = { ...wasi.wasiImport, ...streams.imports, proc_exit: exit };
  const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: imports });
  const exports = instance.exports as unknown as ProgramExports;
  streams.attach(exports.memory);
  wasi.initialize(instance);
  return { exports, streams };
}

function describeEnd(streams: StandardStreams, thrown: unknown): string {
  const [said = ''] = streams.stderr().split('\n');
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return `the program of the builtins failed: ${said === '' ? message : said}`.slice(0, MAX_MESSAGE_BYTES);
}

function readAnswer(name: string, answer: Uint8Array): BuiltinAnswer | SuspendedCall {
  const kind = ANSWERS[answer[0] ?? -1];
  const content = answer.subarray(1);
  if (content.byteLength > MAX_ANSWER_BYTES) {
    throw new Error(`the value of ${name} is larger than ${MAX_ANSWER_BYTES} bytes`);
  }
  if (kind === 'undefined') return { kind };
  if (kind === 'value' || kind === 'suspended') return { kind, text: content };
  if (kind === 'bytes') return { kind, bytes: content };
  throw new Error(`${name}: ${new TextDecoder().decode(content.subarray(0, MAX_MESSAGE_BYTES))}`);
}
