import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { compileProgram } from '../compile-program.ts';
import { limitMemory } from './limit-memory.ts';

/** OPA's own builtins as a module: 27 MB, which are read and compiled once for all threads, when the first one needs them. */
export interface BuiltinsProgram {
  /** Rejects when it cannot be read; tries again then. */
  load(): Promise<WebAssembly.Module>;
}

/** Holds for src/policy/builtins and for dist/policy/builtins. */
const PROGRAM_URL = new URL('../../../tools/rego-compiler/build/rego-builtins.wasm', import.meta.url);
/** 256 MiB. It starts with 17 MiB, and its collector keeps it there. */
const MAX_PAGES = 4096;

export function createBuiltinsProgram(): BuiltinsProgram {
  let loading: Promise<WebAssembly.Module> | undefined;
  return {
    load() {
      loading ??= compile().catch((error: unknown) => {
        loading = undefined;
        throw error;
      });
      return loading;
    },
  };
}

/** For a thread that may wait. */
export function compileBuiltinsProgram(): WebAssembly.Module {
  return new WebAssembly.Module(limitMemory(readFileSync(PROGRAM_URL), MAX_PAGES));
}

async function compile(): Promise<WebAssembly.Module> {
  await using file = await open(PROGRAM_URL);
  const { size } = await file.stat();
  // In one piece: readFile comes back to the event loop dozens of times. A stream would have it all compiled at once.
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(size), 0, size, 0);
  return await compileProgram(limitMemory(buffer.subarray(0, bytesRead), MAX_PAGES));
}
