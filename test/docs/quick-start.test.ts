import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { envoyPath, root } from '../../tools/setup/paths.mjs';
import { startLoggedChild, type LoggedChild } from '../support/logged-child.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';
import { codeBlocks, readPage, type CodeBlock } from './markdown.ts';
import { portsOf, relocateText, type TextRelocation } from './relocate-text.ts';
import { consoleSteps, missingPrograms, runShell, visibleText } from './shell.ts';
import { isCovered } from './treatments.ts';

const page = codeBlocks('README.md', readPage('README.md'));

const skip = missingPrograms('curl', 'openssl');

test('the quick start of README.md does what it says, on a real Envoy', { skip }, async () => {
  await using folder = await tempFolder();
  const place = await relocateText(portsOf(page.map(({ text }) => text).join('')));
  const env = environment();
  await makeClone(folder.path);
  const [prepare, ...servers] = page.filter((block) => block.language === 'sh' && !isCovered(block));
  const commands = prepare?.text.split('\n').filter((line) => line !== 'npm run setup') ?? [];
  const prepared = await runShell(commands.join('\n'), { cwd: folder.path, env });
  assert.equal(prepared.code, 0, prepared.stderr);
  await writeFiles(folder.path, place);

  const children = servers.map((block, index) => startServer({ block, index, place, cwd: folder.path, env }));
  try {
    assert.equal(children.length, 3);
    await waitUntil('the Envoy to be ready', 60_000, async () => {
      for (const child of children) assert.ok(child.isRunning(), child.log());
      const response = await fetch(`http://${place.address}:${place.port(9901)}/ready`);
      return (await response.text()).trim() === 'LIVE';
    });
    for (const block of page.filter(({ language }) => language === 'console')) {
      for (const { command, output } of consoleSteps(block.text)) {
        const { stdout } = await runShell(place.apply(command), { cwd: folder.path, env });
        assert.equal(visibleText(stdout), visibleText(output), command);
      }
    }
    assertLogLines(children[0]?.log() ?? '');
  } finally {
    await Promise.all(children.map(async (child) => child.stop('SIGINT')));
  }
});

/** npx, node and python3 of the machine; the Envoy of set-up where the machine has none. */
function environment(): NodeJS.ProcessEnv {
  const path = [dirname(process.execPath), process.env['PATH'] ?? '', dirname(envoyPath())].join(':');
  return { ...process.env, PATH: path };
}

/** What the quick start needs of a clone. */
async function makeClone(folder: string): Promise<void> {
  for (const name of ['package.json', 'bin', 'policies']) await symlink(join(root, name), join(folder, name));
}

/** The files as a reader copies them, with the own user id as the page asks. */
async function writeFiles(folder: string, place: TextRelocation): Promise<void> {
  const named = page.flatMap(({ file, text }) => (file === undefined ? [] : [{ file, text }]));
  assert.deepEqual(
    named.map(({ file }) => file),
    ['svidgate.yaml', 'entries.yaml', 'policy/data.yaml', 'envoy.yaml'].map((name) => `quickstart/${name}`),
  );
  for (const { file, text } of named) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), place.apply(text).replaceAll('uid:1000', `uid:${process.getuid?.()}`));
  }
}

function startServer(options: {
  readonly block: CodeBlock;
  readonly index: number;
  readonly place: TextRelocation;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}): LoggedChild {
  const { block, index, place, cwd, env } = options;
  return startLoggedChild({
    name: `terminal ${index + 1}`,
    command: 'bash',
    args: ['-c', place.apply(block.text)],
    cwd,
    logFile: join(cwd, `terminal-${index + 1}.log`),
    env: env as Record<string, string>,
  });
}

const CHANGING = ['time', 'decision_id', 'duration_ms', 'serial'];

/** Each log line of the page was written, but for what changes from run to run. */
function assertLogLines(log: string): void {
  const written = log.split('\n').filter((line) => line.startsWith('{"level"'));
  const blocks = page.filter(({ language, text }) => language === 'json' && text.includes('"msg"'));
  assert.equal(blocks.length, 1);
  for (const { text } of blocks) {
    const expected = masked(text);
    assert.ok(
      written.some((line) => masked(line) === expected),
      `${expected}\nis not in\n${log}`,
    );
  }
}

function masked(line: string): string {
  const fields = Object.entries(JSON.parse(line) as object);
  return JSON.stringify(fields.map(([key, value]) => [key, CHANGING.includes(key) ? typeof value : value]));
}
