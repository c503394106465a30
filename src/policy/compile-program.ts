import { setFlagsFromString } from 'node:v8';

/** V8's own default, and some half a second of a function's own time. */
const TIERING_BUDGET = { usual: 13_000_000, long: 2_000_000_000 };

/**
 * Compiles one of our own programs, tens of megabytes of Go. A module takes over the tiering budget of the moment when it
 * is made: with V8's default thousands of functions are optimized while the program starts, which costs two thirds of the
 * processor time of a first run and gains nothing before it ends. What is hot for long is optimized all the same.
 */
export async function compileProgram(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET.long}`);
  try {
    return await WebAssembly.compile(bytes);
  } finally {
    setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET.usual}`);
  }
}
