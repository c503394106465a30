import assert from 'node:assert/strict';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { applyLogRules } from '../../src/evidence/records/apply-log-rules.ts';
import type { DecisionRecord } from '../../src/evidence/index.ts';
import { Evaluator } from '../../src/policy/evaluator.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import { isDecisionLogLine } from './decision-log-lines.ts';
import type { CodeBlock } from './markdown.ts';

export function isLogRules(block: CodeBlock): boolean {
  return block.language === 'rego' && /^package system\.log$/m.test(block.text);
}

/** Rejects when the rules do not compile, or do nothing to a record of their page. */
export async function checkLogRules(block: CodeBlock, page: readonly CodeBlock[]): Promise<void> {
  const { signal } = new AbortController();
  const files = { modules: { 'log.rego': block.text }, data: {} };
  const built = await createRegoCompiler({ clock: systemClock }).build(files, 'system/log', signal);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  const module = await WebAssembly.compile(built.wasm);
  const loaded = { module, entrypoint: 'system/log', data: new TextEncoder().encode(built.data) };
  const evaluator = await Evaluator.start(loaded, { clock: systemClock, logger: silentLogger, queueLimit: 1 }, signal);
  try {
    const text = page.find((other) => other.language === 'json' && isDecisionLogLine(JSON.parse(other.text)))?.text;
    assert.ok(text !== undefined, `${block.page} has no record`);
    const answer = await evaluator.evaluate(Buffer.from(text), { deadline: Date.now() + 10_000 });
    const ruled = applyLogRules(JSON.parse(text) as DecisionRecord, answer);
    assert.ok(ruled.kind === 'kept' && !ruled.failed && ruled.record.masked !== undefined, JSON.stringify(answer));
  } finally {
    await evaluator.close();
  }
}
