import type { BuiltinHost } from './builtin-host.ts';
import type { BuiltinAnswer } from './opa-builtins.ts';

/** What a module compiled by OPA exports, as far as builtins need it. */
export interface PolicyExports {
  /** Address of an object from builtin name to number: those the module imports from the host. */
  readonly builtins: () => number;
  readonly opa_json_dump: (value: number) => number;
  readonly opa_malloc: (bytes: number) => number;
  readonly opa_free: (address: number) => void;
  /** Address of the text of a value: JSON with sets, ended by a zero. */
  readonly opa_value_dump: (value: number) => number;
  /** Gives 0 for what is no value. */
  readonly opa_value_parse: (address: number, length: number) => number;
}

/** Layout of a string value of OPA's WASM: a type, its length, the address of its bytes. */
const STRING_TYPE = 4;
const LENGTH_OFFSET = 4;
const BYTES_OFFSET = 8;
/** How the call of a builtin without a value is told to the module. */
const UNDEFINED = 0;
const COMMA = 44;
const UTF8 = new TextDecoder();

/**
 * The functions that a compiled policy imports. Those of the package opa-wasm pass arguments as JSON, in which sets are
 * arrays and large numbers are rounded, and let builtins of its own come first.
 */
export interface PolicyImports {
  readonly env: Readonly<Record<string, unknown>>;
  /**
   * Gives the instance, once it is there: before that no builtin may be called; and the builtins of redirectedNatives. Throws
   * as BuiltinHost.prepare.
   */
  attach(exports: PolicyExports, redirected?: readonly (readonly [number, string])[]): void;
}

export function createPolicyImports(memory: WebAssembly.Memory, host: BuiltinHost): PolicyImports {
  let names: ReadonlyMap<number, string> = new Map();
  let exports: PolicyExports | undefined;
  const call = (id: number, _context: number, ...args: number[]): number => {
    const name = names.get(id);
    if (exports === undefined || name === undefined) throw new Error(`the module calls an unknown builtin ${id}`);
    return storeAnswer({ memory, exports }, host.call(name, dumpArguments({ memory, exports }, args)));
  };
  return {
    env: {
      memory,
      opa_abort: (address: number) => {
        throw new Error(UTF8.decode(textAt(memory, address)));
      },
      opa_println: () => undefined,
      opa_builtin0: call,
      opa_builtin1: call,
      opa_builtin2: call,
      opa_builtin3: call,
      opa_builtin4: call,
    },
    attach(ofInstance, redirected = []) {
      exports = ofInstance;
      const text = UTF8.decode(textAt(memory, exports.opa_json_dump(exports.builtins())));
      const ids = JSON.parse(text) as Readonly<Record<string, number>>;
      names = new Map([...Object.entries(ids).map(([name, id]) => [id, name] as const), ...redirected]);
      host.prepare([...names.values()]);
    },
  };
}

/** Bytes up to a zero. */
export function textAt(memory: WebAssembly.Memory, address: number): Uint8Array {
  const bytes = new Uint8Array(memory.buffer, address);
  return bytes.subarray(0, bytes.indexOf(0));
}

interface Guest {
  readonly memory: WebAssembly.Memory;
  readonly exports: PolicyExports;
}

/** The text of an array of the arguments: `[` and `]` around them, and commas between. */
function dumpArguments({ memory, exports }: Guest, args: readonly number[]): Uint8Array {
  const addresses = args.map((arg) => exports.opa_value_dump(arg));
  const texts = addresses.map((address) => textAt(memory, address));
  const all = new Uint8Array(texts.reduce((sum, text) => sum + text.length + 1, texts.length === 0 ? 2 : 1));
  let at = 0;
  for (const text of texts) {
    all[at] = COMMA;
    all.set(text, at + 1);
    at += text.length + 1;
  }
  all[0] = 91;
  all[all.length - 1] = 93;
  for (const address of addresses) exports.opa_free(address);
  return all;
}

/** Makes the answer a value of the module and gives its address. */
function storeAnswer(guest: Guest, answer: BuiltinAnswer): number {
  switch (answer.kind) {
    case 'undefined':
      return UNDEFINED;
    case 'value':
      return parse(guest, answer.text);
    case 'bytes':
      return storeBytes(guest, answer.bytes);
  }
}

function parse({ memory, exports }: Guest, text: Uint8Array): number {
  const address = exports.opa_malloc(text.length);
  new Uint8Array(memory.buffer).set(text, address);
  const value = exports.opa_value_parse(address, text.length);
  exports.opa_free(address);
  if (value === 0) throw new Error('the value of a builtin is not well-formed');
  return value;
}

/** opa_value_parse takes UTF-8 only: a string of the same length is made, and its bytes are replaced. */
function storeBytes(guest: Guest, bytes: Uint8Array): number {
  const value = parse(guest, new TextEncoder().encode(`"${'x'.repeat(bytes.length)}"`));
  const view = new DataView(guest.memory.buffer);
  if (view.getUint8(value) !== STRING_TYPE || view.getUint32(value + LENGTH_OFFSET, true) !== bytes.length) {
    throw new Error('strings lie otherwise in the memory of the module');
  }
  new Uint8Array(guest.memory.buffer).set(bytes, view.getUint32(value + BYTES_OFFSET, true));
  return value;
}
