/** The same expressions evaluated by OPA itself and by the compiled policy with svidgate's host, compared. */
import assert from 'node:assert/strict';
import { systemClock } from '../../../src/core/index.ts';
import { createBuiltinHost } from '../../../src/policy/builtins/builtin-host.ts';
import { instantiatePolicy } from '../../../src/policy/policy-instance.ts';
import { createRegoCompiler, type BuildResult, type ReferenceResult } from '../../../src/policy/rego-compiler.ts';

export const NOW_NS = 1_755_555_555_123_456_789n;

/** In expressions: values whose type the compiler does not know. */
const INPUT = JSON.stringify({
  no: null,
  yes: true,
  n: 7,
  s: 'text',
  a: ['x', 1, null],
  o: { k: 'v', é: [1] },
  empty: { a: [], o: {}, s: '' },
});

const LIMITS = { recycleBytes: 64 * 2 ** 20, maxBytes: 512 * 2 ** 20 };
const compiler = createRegoCompiler({ clock: systemClock, timeLimitMs: 60_000 });
const host = createBuiltinHost({ now: () => NOW_NS });

export interface Difference {
  readonly expression: string;
  readonly opa: string;
  readonly svidgate: string;
}

/**
 * Gives those whose values differ; both sides put the value into text with OPA's sprintf, so that sets and exact numbers
 * are compared.
 */
export async function differences(expressions: readonly string[], atLeastDefined = 0): Promise<readonly Difference[]> {
  const rules = expressions.map((expression, at) => `r["${at}"] := sprintf("%v", [[${expression}]])`);
  const files = { modules: { 'test.rego': ['package test', ...rules].join('\n') }, data: {} };
  const { signal } = new AbortController();
  const reference = await compiler.evaluate(files, { entrypoint: 'test/r', input: INPUT, nowNs: NOW_NS }, signal);
  assert.ok(reference.kind === 'value', explain(reference, expressions));
  const built = await compiler.build(files, 'test/r', signal);
  assert.ok(built.kind === 'built', explain(built, expressions));
  const module = await WebAssembly.compile(built.wasm);
  const loaded = { module, entrypoint: 'test/r', data: new TextEncoder().encode(built.data), limits: LIMITS };
  const [set] = instantiatePolicy(loaded, host).evaluate(new TextEncoder().encode(INPUT).buffer);
  const wanted = JSON.parse(reference.json) as Readonly<Record<string, string>>;
  assert.ok(Object.keys(wanted).length >= atLeastDefined, 'too many are undefined to show anything');
  const given = set?.result as Readonly<Record<string, string>>;
  const show = (value: string | undefined): string => value ?? 'undefined';
  return expressions.flatMap((expression, at) => {
    const [opa, svidgate] = [show(wanted[at]), show(given[at])];
    return opa === svidgate ? [] : [{ expression, opa, svidgate }];
  });
}

function explain(result: BuildResult | ReferenceResult, expressions: readonly string[]): string {
  if (result.kind !== 'refused') return result.kind;
  return result.problems.map(({ message, line }) => `${message}: ${expressions[line - 2]}`).join('\n');
}

/** A call with each combination of the arguments, which are Rego. */
export function calls(name: string, ...choices: readonly (readonly string[])[]): readonly string[] {
  const combined = choices.reduce<readonly (readonly string[])[]>(
    (all, choice) => all.flatMap((before) => choice.map((next) => [...before, next])),
    [[]],
  );
  return combined.map((args) => `${name}(${args.join(', ')})`);
}

/** Rego strings. */
export function texts(...values: readonly string[]): readonly string[] {
  return values.map((value) => JSON.stringify(value).replaceAll('\ufeff', String.raw`\ufeff`));
}
