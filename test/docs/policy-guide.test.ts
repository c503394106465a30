/** Does what docs/guide/policies.md says, in its order, with a copy of the shipped policies. */
import assert from 'node:assert/strict';
import { chmod, cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../tools/setup/paths.mjs';
import { tempFolder } from '../support/temp-folder.ts';
import { codeBlocks, readPage } from './markdown.ts';
import { consoleSteps, runShell, visibleText, type ConsoleStep } from './shell.ts';

const PAGE = 'docs/guide/policies.md';

test('the guide to policies does what it says', async () => {
  await using folder = await tempFolder();
  await cp(join(root, 'policies'), join(folder.path, 'policies'), { recursive: true });
  await mkdir(join(folder.path, 'bin'));
  const program = join(folder.path, 'bin/svidgate');
  await writeFile(program, `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'bin/svidgate.mjs')}' "$@"\n`);
  await chmod(program, 0o755);
  const env = { ...process.env, PATH: `${dirname(program)}:${process.env['PATH'] ?? ''}` };
  let ran = 0;
  for (const block of codeBlocks(PAGE, readPage(PAGE))) {
    if (block.file !== undefined) {
      await mkdir(dirname(join(folder.path, block.file)), { recursive: true });
      await writeFile(join(folder.path, block.file), block.text);
    }
    if (block.language === 'sh') assert.equal((await runShell(block.text, { cwd: folder.path, env })).code, 0);
    if (block.language !== 'console') continue;
    const steps = consoleSteps(block.text);
    const run = async ({ command, output }: ConsoleStep): Promise<void> => {
      const { stdout, stderr } = await runShell(command, { cwd: folder.path, env });
      assert.equal(visibleText(stdout), visibleText(output), `${command}\n${stderr}`);
      ran += 1;
    };
    // Each takes a second or more; those after one that writes files wait for it.
    if (block.text.includes(' --out ')) for (const step of steps) await run(step);
    else await Promise.all(steps.map(run));
  }
  assert.ok(ran >= 15);
});
