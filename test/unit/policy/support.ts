/** What the tests of the policy room share: one compiler, and policies from Rego text. */
import assert from 'node:assert/strict';
import { systemClock } from '../../../src/core/index.ts';
import type { LoadedModule } from '../../../src/policy/evaluator-protocol.ts';
import { createRegoCompiler, type RegoCompiler } from '../../../src/policy/rego-compiler.ts';

export const never: AbortSignal = new AbortController().signal;
export const compiler: RegoCompiler = createRegoCompiler({ clock: systemClock });

/** A compiled policy; `data` is the text of data.json. */
export async function load(rego: string, data = '{}', by: RegoCompiler = compiler): Promise<LoadedModule> {
  const entrypoint = 'test/allow';
  const built = await by.build({ modules: { 'test.rego': rego }, data: { 'data.json': data } }, entrypoint, never);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  const module = await WebAssembly.compile(built.wasm);
  return { module, entrypoint, data: new TextEncoder().encode(built.data) };
}

export function json(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}
