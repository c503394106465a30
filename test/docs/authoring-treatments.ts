import assert from 'node:assert/strict';
import { parse } from 'yaml';
import { importIstio, translateRules } from '../../src/authoring/index.ts';
import { systemClock } from '../../src/core/index.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import { RUN_AS_A_WHOLE } from './covered.ts';
import type { CodeBlock } from './markdown.ts';
import type { Treatment } from './treatments.ts';

type Rows = readonly Readonly<Record<string, unknown>>[];

/** The shipped policies beside the service table, by the first key of their data. */
const OTHER_DATA: ReadonlyMap<string, readonly string[]> = new Map([
  ['routes', ['methods', 'paths']],
  ['peers', ['spiffe_id', 'methods', 'paths']],
  ['grants', ['spiffe_id', 'reason', 'from', 'until', 'methods', 'paths']],
]);

/** What those write who do not write Rego. */
export const AUTHORING_TREATMENTS: readonly Treatment[] = [
  {
    name: 'a rules file, by the Rego that it becomes',
    takes(block) {
      const [key, rows] = onlyKey(block);
      return key === 'rules' && rows.length > 0 && rows.every((row) => 'name' in row);
    },
    async check({ text }) {
      const { policy, mistakes } = await translateRules(text, 'rules.yaml');
      assert.deepEqual(mistakes, undefined);
      const { modules, entrypoint } = policy ?? assert.fail();
      const compiler = createRegoCompiler({ clock: systemClock });
      const built = await compiler.build({ modules, data: {} }, entrypoint, new AbortController().signal);
      assert.equal(built.kind, 'built');
    },
  },
  {
    name: 'data of another shipped policy, by its keys; the test of its page decides by it',
    takes: (block) => block.file?.startsWith('policies/rego/') === true && OTHER_DATA.has(onlyKey(block)[0]),
    check(block) {
      const [key, rows] = onlyKey(block);
      for (const row of rows) {
        for (const name of OTHER_DATA.get(key) ?? []) assert.ok(name in row, `${key} without ${name}`);
      }
      assert.ok(RUN_AS_A_WHOLE.has(block.page));
      return Promise.resolve();
    },
  },
  {
    name: 'a policy of Istio, by importing it',
    takes: ({ language, text }) => language === 'yaml' && /^kind: AuthorizationPolicy$/m.test(text),
    check({ text }) {
      const options = { trustDomains: ['cluster.local'], providers: new Map<string, string>() };
      assert.equal(importIstio(text, 'istio.yaml', options).mistakes, undefined);
      return Promise.resolve();
    },
  },
];

/** Of a mapping with one list; empty for any other block. */
function onlyKey({ language, text }: CodeBlock): readonly [string, Rows] {
  if (language !== 'yaml' || !/^\w+:$/m.test(text)) return ['', []];
  const value: unknown = parse(text);
  if (typeof value !== 'object' || value === null) return ['', []];
  const [[key, rows] = ['', []], ...more] = Object.entries(value);
  return more.length === 0 && Array.isArray(rows) ? [key, rows as Rows] : ['', []];
}
