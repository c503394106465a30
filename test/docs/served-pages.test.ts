import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { root } from '../../tools/setup/paths.mjs';
import { serve } from '../support/cli.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { RUN_AS_A_WHOLE } from './covered.ts';
import { codeBlocks, readPage } from './markdown.ts';
import { consoleSteps, missingPrograms, runShell } from './shell.ts';

const OWN_FILE = 'test/docs/served-pages.test.ts';
const skip = missingPrograms('openssl');

for (const [page, file] of RUN_AS_A_WHOLE) {
  if (file !== OWN_FILE) continue;
  test(`the commands of ${page} print what it says, on the servers that it sets up`, { skip }, () => runPage(page));
}

async function runPage(page: string): Promise<void> {
  const blocks = codeBlocks(page, readPage(page));
  await using folder = await tempFolder();
  const bin = join(folder.path, '.bin');
  await mkdir(bin);
  await symlink(join(root, 'bin/svidgate.mjs'), join(bin, 'svidgate'));
  const path = `${bin}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
  const shell = { cwd: folder.path, env: { ...process.env, PATH: path, SVIDGATE_CONFIG: 'svidgate.yaml' } };
  const configs: string[] = [];
  for (const { file, text } of blocks) {
    if (file === undefined) continue;
    await writeFile(join(folder.path, file), text.replaceAll('unix:uid:1000', `unix:uid:${process.getuid?.()}`));
    if ('trust_domain' in (parse(text) as object)) configs.push(file);
  }
  for (const { text } of blocks.filter(({ language }) => language === 'sh')) {
    if (text.startsWith('svidgate serve ')) continue;
    const { code, stderr } = await runShell(text, shell);
    assert.equal(code, 0, stderr);
  }
  const servers = await serversOf(folder.path, configs);
  try {
    const steps = blocks.filter(({ language }) => language === 'console').flatMap(({ text }) => consoleSteps(text));
    assert.ok(steps.length > 2);
    for (const { command, output } of steps) {
      const isRestore = command.startsWith('svidgate restore') && !output.includes('already_running');
      if (isRestore) await servers.stop();
      const { stdout, stderr } = await runShell(command, shell);
      assert.equal(lasting(stdout + stderr), lasting(output), command);
      if (isRestore) await servers.start();
    }
  } finally {
    await servers.stop();
  }
}

/** All servers of a page, which can be stopped and started again. */
async function serversOf(
  folder: string,
  configs: readonly string[],
): Promise<{ readonly start: () => Promise<void>; readonly stop: () => Promise<void> }> {
  let running: readonly ReturnType<typeof serve>[] = [];
  const stop = async (): Promise<void> => {
    for (const { child } of running) child.kill('SIGTERM');
    for (const { ended } of running) await ended;
    running = [];
  };
  const start = async (): Promise<void> => {
    running = configs.map((config) => serve(folder, config));
    try {
      await Promise.all(running.map((server) => server.started()));
    } catch (error) {
      await stop();
      throw error;
    }
  };
  await start();
  return { start, stop };
}

/** Without what changes from run to run: times, ids, sizes, folders, and the widths of columns. */
function lasting(text: string): string {
  return text
    .replaceAll(/\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{30,40}\b/g, 'ID') // first, for `-123d-` in one is no time
    .replaceAll(/\b\d+[smhd]\b/g, 'TIME')
    .replaceAll(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replaceAll(/\b\d+ bytes/g, 'BYTES')
    .replaceAll(/wrote \/\S+\//g, 'wrote FOLDER/')
    .replaceAll(/ +/g, ' ')
    .replaceAll(/ $/gm, '')
    .trim();
}
