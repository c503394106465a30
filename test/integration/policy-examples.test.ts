/** The Rego of the examples: its own tests, and what it decides by. */
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/core/index.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import { root } from '../../tools/setup/paths.mjs';

const never = new AbortController().signal;
const EXAMPLES = join(root, 'envoy-examples');
const modules = globSync('**/*.rego', { cwd: EXAMPLES }).map((file) => join(EXAMPLES, file));
const folders = [...new Set(modules.map((file) => dirname(file)))];

test('there are examples with policies', () => assert.ok(folders.length >= 6));

for (const folder of folders) {
  describe(`envoy-examples/${relative(EXAMPLES, folder)}`, () => {
    const files = modules.filter((file) => dirname(file) === folder);
    const read = async (): Promise<readonly (readonly [string, string])[]> =>
      Promise.all(files.map(async (file) => [relative(folder, file), await readFile(file, 'utf8')] as const));

    test('passes its own tests', async () => {
      const texts = Object.fromEntries(await read());
      const data: Record<string, string> = {};
      for (const name of globSync('data.{json,yaml}', { cwd: folder }))
        data[name] = await readFile(join(folder, name), 'utf8');
      const result = await createRegoCompiler({ clock: systemClock }).test({ modules: texts, data }, never);
      assert.ok(result.kind === 'ran', JSON.stringify(result));
      assert.ok(result.tests.length > 0);
      for (const { name, outcome, error } of result.tests) assert.equal(outcome, 'pass', `${name} ${error ?? ''}`);
    });

    test('decides by nothing that nobody verified', async () => {
      for (const [file, text] of await read()) {
        assert.doesNotMatch(text, /principal|source\.certificate|jwt\.decode\(/, file);
        // What is verified is said beside what it is.
        for (const [, fact] of text.matchAll(/input\.svidgate\.(peer|xfcc|jwt)\b/g)) {
          assert.ok(text.includes(`input.svidgate.${fact}.verified == true`), `${file} reads ${fact}`);
        }
      }
    });
  });
}
