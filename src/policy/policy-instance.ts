import { createRequire } from 'node:module';
import type * as OpaWasm from '@open-policy-agent/opa-wasm';
import { createBuiltinHost, type BuiltinHost } from './builtins/builtin-host.ts';
import { redirectedNatives } from './builtins/redirected-natives.ts';
import { createPolicyImports, textAt, type PolicyExports } from './builtins/policy-imports.ts';
import type { NdBuiltinCache } from './evaluation.ts';
import type { LoadedModule, MemoryLimits, Resumption, Suspension } from './evaluator-protocol.ts';

/** Its ES module exports this only inside a default that its types do not have. */
const { LoadedPolicy } = createRequire(import.meta.url)('@open-policy-agent/opa-wasm') as typeof OpaWasm;

const PAGE_BYTES = 65_536;
/** What OPA's modules start with: 320 KiB. */
const INITIAL_PAGES = 5;
/** Version 1.3 of the interface, which the compiler of tools/rego-compiler makes; opa-wasm asks for it. */
const MINOR_ABI_VERSION = 3;
/**
 * JSON becomes up to twenty times its size in the JavaScript heap, and a heap that overflows inside JSON.parse ends the
 * whole process, not the thread alone. So what is parsed is bounded far below the limit of the heap.
 */
const MAX_INPUT_BYTES = 16 * 2 ** 20;
const MAX_RESULT_BYTES = 4 * 2 ** 20;
const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true });
const NOT_JSON = 'the input is not JSON';
/** Error texts may quote data of the policy; logs need the beginning only. */
const MAX_MESSAGE_LENGTH = 1000;

/**
 * A policy in WASM memory, not re-entrant. After evaluate() threw it must not be used again, unless it threw an
 * EvaluationSuspended that is sound.
 */
export interface PolicyInstance {
  /** The result set: empty when undefined. Throws strings and plain objects as well as errors: see describeThrown. */
  evaluate(input: ArrayBuffer, resumption?: Resumption, nd?: NdBuiltinCache): ResultSet;
  /** Whether evaluations made its memory grow so far that it should be replaced. */
  isGrown(): boolean;
}

/**
 * The evaluation needs an exchange with the network first. It has gone to its end all the same, with every builtin
 * undefined from there on: an exception would leave the stack of the module as it was, and the instance useless. What
 * came out is dropped.
 */
export class EvaluationSuspended extends Error {
  readonly suspension: Suspension;
  /** Whether the instance may be used again. */
  readonly isSound: boolean;

  constructor(suspension: Suspension, isSound: boolean) {
    super('the evaluation needs an answer from the network');
    this.suspension = suspension;
    this.isSound = isSound;
  }
}

/**
 * Makes a new instance with the data set once: setData on a used instance may fail half-way. Throws when the module
 * needs a builtin that the host does not have, lacks the entrypoint, or cannot hold the data. Instances of one thread
 * may share a host.
 */
export function instantiatePolicy(
  source: LoadedModule & { readonly limits: MemoryLimits },
  host: BuiltinHost = createBuiltinHost(),
): PolicyInstance {
  const { module, entrypoint, limits } = source;
  const policy = loadModule(module, limits, host);
  const entrypoints = policy.entrypoints as Readonly<Record<string, number>>;
  const entrypointId = Object.hasOwn(entrypoints, entrypoint) ? entrypoints[entrypoint] : undefined;
  if (entrypointId === undefined) throw new Error(`the module has no entrypoint ${entrypoint}`);
  policy.setData(exactBuffer(source.data));
  const recycleAt = policy.mem.buffer.byteLength + limits.recycleBytes;
  return {
    evaluate(input, resumption, nd) {
      if (input.byteLength > MAX_INPUT_BYTES) throw new Error(`the input is larger than ${MAX_INPUT_BYTES} bytes`);
      const document = parseInput(policy, input);
      host.begin(resumption, nd);
      let isSound = false;
      try {
        const results = evaluateInput(policy, entrypointId, document);
        isSound = true;
        if (host.suspension === undefined) return results;
      } catch (error) {
        if (host.suspension === undefined) throw error;
      }
      throw new EvaluationSuspended(host.suspension, isSound);
    },
    isGrown: () => policy.mem.buffer.byteLength > recycleAt,
  };
}

/** With functions of our own for the module to import: see createPolicyImports. */
function loadModule(module: WebAssembly.Module, limits: MemoryLimits, host: BuiltinHost): OpaWasm.LoadedPolicy {
  const maximum = Math.floor(limits.maxBytes / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum });
  const imports = createPolicyImports(memory, host);
  const instance = new WebAssembly.Instance(module, { env: imports.env });
  imports.attach(instance.exports as unknown as PolicyExports, redirectedNatives(module));
  return new LoadedPolicy({ instance, module }, memory, MINOR_ABI_VERSION);
}

/** Text of anything that opa-wasm throws: errors, strings, objects with a message. */
export function describeThrown(thrown: unknown): string {
  let text = 'the evaluation failed';
  if (typeof thrown === 'string') text = thrown;
  else if (typeof thrown === 'object' && thrown !== null && 'message' in thrown) text = String(thrown.message);
  return text.slice(0, MAX_MESSAGE_LENGTH);
}

/** The bytes as the ArrayBuffer that opa-wasm takes as JSON text, without copying where the view covers it all. */
export function exactBuffer(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) return buffer;
  return new Uint8Array(bytes).buffer;
}

/**
 * The address of the input in the module. Throws when it is not one JSON document: the module itself would take it for an
 * undefined input, with which a rule such as `not input.x` holds, or stop reading at the end of the first value. The
 * second check is for what JSON.parse takes and OPA's own parser does not.
 */
function parseInput(policy: OpaWasm.LoadedPolicy, input: ArrayBuffer): number {
  try {
    JSON.parse(STRICT_UTF8.decode(input));
  } catch {
    throw new Error(NOT_JSON); // the parser's own message quotes the request
  }
  const exports = exportsOf(policy);
  exports.opa_heap_ptr_set(policy.dataHeapPtr as number);
  const address = exports.opa_malloc(input.byteLength);
  new Uint8Array(policy.mem.buffer).set(new Uint8Array(input), address);
  const document = exports.opa_json_parse(address, input.byteLength);
  if (document === 0) throw new Error(NOT_JSON);
  return document;
}

/** What LoadedPolicy.evaluate does, with an input that is parsed already, and with a limit on the result. */
function evaluateInput(policy: OpaWasm.LoadedPolicy, entrypointId: number, document: number): ResultSet {
  const exports = exportsOf(policy);
  const context = exports.opa_eval_ctx_new();
  exports.opa_eval_ctx_set_input(context, document);
  exports.opa_eval_ctx_set_data(context, policy.dataAddr);
  exports.opa_eval_ctx_set_entrypoint(context, entrypointId);
  const failure = exports.eval(context);
  if (failure !== 0) throw new Error(`the evaluation ended with ${failure}`);
  return parseJsonAt(policy, exports.opa_json_dump(exports.opa_eval_ctx_get_result(context))) as ResultSet;
}

type ResultSet = readonly { readonly result: unknown }[];

/** https://www.openpolicyagent.org/docs/wasm#exports; all numbers are addresses in the module's memory but those that say otherwise. */
interface EvaluationExports {
  readonly opa_heap_ptr_set: (address: number) => void;
  readonly opa_malloc: (bytes: number) => number;
  /** Gives 0 for what is not JSON. */
  readonly opa_json_parse: (text: number, length: number) => number;
  readonly opa_eval_ctx_new: () => number;
  readonly opa_eval_ctx_set_input: (context: number, value: number) => void;
  readonly opa_eval_ctx_set_data: (context: number, value: number) => void;
  readonly opa_eval_ctx_set_entrypoint: (context: number, id: number) => void;
  /** An error code; 0 for none. */
  readonly eval: (context: number) => number;
  readonly opa_eval_ctx_get_result: (context: number) => number;
  readonly opa_json_dump: (value: number) => number;
}

function exportsOf(policy: OpaWasm.LoadedPolicy): EvaluationExports {
  return (policy.wasmInstance as WebAssembly.Instance).exports as unknown as EvaluationExports;
}

/** The value of JSON text in the memory of the module, which ends with a zero. */
function parseJsonAt(policy: OpaWasm.LoadedPolicy, address: number): unknown {
  const text = textAt(policy.mem, address);
  if (text.byteLength > MAX_RESULT_BYTES) throw new Error(`the result is larger than ${MAX_RESULT_BYTES} bytes`);
  return JSON.parse(new TextDecoder().decode(text));
}
