import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root } from '../../../tools/setup/paths.mjs';

const FILES = {
  'passes.test.ts': `import { it } from 'node:test'; it('passes', () => {});`,
  'fails.test.ts': `import { it } from 'node:test'; it('fails', () => { throw new Error('on purpose'); });`,
  'skips.test.ts': `import { it } from 'node:test'; it('is skipped', { skip: 'no Envoy' }, () => {});`,
  'stays.test.ts': `import { it } from 'node:test'; import { createServer } from 'node:net'; it('stays', () => { createServer().listen(0, '127.0.0.1'); });`,
};

describe('the test runner', () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'svidgate-runner-'));
    for (const [name, text] of Object.entries(FILES)) writeFileSync(join(dir, name), text);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const CASES: readonly { files: readonly string[]; noSkip: boolean; code: number; says?: RegExp }[] = [
    { files: ['passes.test.ts'], noSkip: true, code: 0 },
    { files: ['fails.test.ts', 'passes.test.ts'], noSkip: false, code: 1, says: /on purpose/ },
    { files: ['skips.test.ts', 'passes.test.ts'], noSkip: false, code: 0 },
    { files: ['stays.test.ts'], noSkip: false, code: 1, says: /still runs after its last test: .*TCPServerWrap/ },
    {
      files: ['skips.test.ts', 'passes.test.ts'],
      noSkip: true,
      code: 1,
      says: /✖ skipped, which SVIDGATE_NO_SKIP=1 forbids:\n {4}is skipped \(.*skips\.test\.ts:1\): no Envoy\n(.|\n)*ℹ skipped 1\n/,
    },
  ];
  for (const { files, noSkip, code, says } of CASES) {
    it(`ends with ${code} for ${files.join(' and ')}${noSkip ? ' when nothing may be skipped' : ''}`, () => {
      const env: NodeJS.ProcessEnv = { ...process.env, SVIDGATE_NO_SKIP: noSkip ? '1' : '0' };
      // Set by the runner that runs this very file; with it a runner inside reports to the outer one.
      delete env['NODE_TEST_CONTEXT'];
      const { status, stdout } = spawnSync(
        process.execPath,
        [join(root, 'tools/test/run.ts'), ...files.map((file) => join(dir, file))],
        { encoding: 'utf8', env: { ...env, SVIDGATE_TEST_PATIENCE_MS: '500' } },
      );
      assert.equal(status, code, stdout);
      if (says !== undefined) assert.match(stdout, says);
      const summary = stdout.slice(stdout.indexOf('ℹ tests '));
      assert.match(summary, /^ℹ tests \d+\n/);
      if (code === 0) assert.match(stdout.trimEnd().split('\n').at(-1) ?? '', /^ℹ duration_ms /);
    });
  }
});
