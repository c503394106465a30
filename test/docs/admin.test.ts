import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../tools/setup/paths.mjs';
import { serve } from '../support/cli.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { codeBlocks, readPage } from './markdown.ts';
import { consoleSteps, runShell } from './shell.ts';

const page = codeBlocks('docs/admin.md', readPage('docs/admin.md'));

test('the commands of docs/admin.md print what it says, in their order', { timeout: 120_000 }, async () => {
  await using folder = await tempFolder();
  const config = page.find(({ file }) => file === 'svidgate.yaml') ?? assert.fail('no svidgate.yaml on the page');
  await writeFile(join(folder.path, 'svidgate.yaml'), config.text);
  const bin = join(folder.path, '.bin');
  await mkdir(bin);
  await symlink(join(root, 'bin/svidgate.mjs'), join(bin, 'svidgate'));
  const env = {
    ...process.env,
    PATH: `${bin}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    SVIDGATE_CONFIG: 'svidgate.yaml',
  };
  await using server = serve(folder.path);
  await server.started();
  const steps = page.filter(({ language }) => language === 'console').flatMap(({ text }) => consoleSteps(text));
  assert.ok(steps.length > 10);
  for (const { command, output } of steps) {
    const { stdout, stderr } = await runShell(command, { cwd: folder.path, env });
    assert.deepEqual([lasting(stdout), stderr], [lasting(output), ''], command);
  }
});

/** Without what changes from run to run: times, ids, the user, and the widths of their columns. */
function lasting(text: string): string {
  return text
    .replaceAll(/\b\d+[smhd]\b(?= ago|\n|$)|(?<=in |up for )\d+[smhd]/g, 'TIME')
    .replaceAll(/\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{40}\b|\b[A-Za-z0-9]{32}\b/g, 'ID')
    .replaceAll(/unix:uid:\d+$/gm, 'unix:uid:N')
    .replaceAll(/ +/g, ' ')
    .trim();
}
