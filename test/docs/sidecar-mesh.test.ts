import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { envoyPath, root } from '../../tools/setup/paths.mjs';
import { startLoggedChild } from '../support/logged-child.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';
import { codeBlocks, readPage } from './markdown.ts';
import { portsOf, relocateText } from './relocate-text.ts';
import { missingPrograms, runShell } from './shell.ts';

const PAGE = 'envoy-examples/sidecar-mesh/README.md';

const skip = missingPrograms('curl');

test('the mesh comes up by hand as its page says, and answers as its page says', { skip }, async () => {
  await using folder = await tempFolder();
  const dir = join(folder.path, dirname(PAGE));
  await cp(join(root, dirname(PAGE)), dir, { recursive: true });
  await symlink(join(root, 'policies'), join(folder.path, 'policies'));
  const bin = join(folder.path, '.bin');
  await mkdir(bin);
  await symlink(join(root, 'bin/svidgate.mjs'), join(bin, 'svidgate'));
  const path = [bin, dirname(envoyPath()), dirname(process.execPath), process.env['PATH'] ?? ''].join(':');
  const env = { ...process.env, PATH: path };

  const files = (await readdir(dir)).filter((name) => name.endsWith('.yaml'));
  const texts = new Map(
    await Promise.all(files.map(async (name) => [name, await readFile(join(dir, name), 'utf8')] as const)),
  );
  const [start, ask] = codeBlocks(PAGE, readPage(PAGE)).filter(({ language }) => language === 'sh');
  const place = await relocateText(portsOf([...texts.values(), start?.text, ask?.text].join('\n')));
  for (const [name, text] of texts) await writeFile(join(dir, name), place.apply(text));

  const mesh = startLoggedChild({
    name: 'the mesh',
    command: 'bash',
    args: ['-c', `${place.apply(start?.text ?? '')}\nwait`],
    cwd: dir,
    logFile: join(folder.path, 'mesh.log'),
    env,
  });
  try {
    for (const port of [9901, 9902, 9903]) {
      await waitUntil(`the Envoy with admin port ${port} to be ready`, 60_000, async () => {
        const response = await fetch(`http://${place.address}:${place.port(port)}/ready`);
        return (await response.text()).trim() === 'LIVE';
      });
    }
    await waitUntil('svidgate to be ready', 60_000, async () => {
      return (await fetch(`http://${place.address}:${place.port(9988)}/ready`)).ok;
    });
    const lines = ask?.text.split('\n').filter((line) => line.startsWith('curl ')) ?? [];
    assert.ok(lines.length >= 4);
    for (const line of lines) {
      const [command = '', comment = ''] = place.apply(line).split(/ +# /);
      const asked = command.replace('curl ', "curl -s -o /dev/null -w '%{http_code}' ");
      const { stdout } = await runShell(asked, { cwd: dir, env });
      assert.equal(stdout, /^\d{3}/.exec(comment)?.[0] ?? '200', line);
    }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${mesh.log().slice(-4000)}`, { cause: error });
  } finally {
    await mesh.stop();
  }
});
