import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { envoyPath, nodePath, pythonPath, root } from '../../tools/setup/paths.mjs';
import { freeLoopbackAddress, freePorts } from '../support/envoy-address.ts';
import { lastLines } from '../support/envoy.ts';
import { startLoggedChild, type LoggedChild } from '../support/logged-child.ts';
import { waitUntil } from '../support/wait-until.ts';

const EXAMPLE = 'envoy-examples/sidecar-mesh';

interface CurlLine {
  readonly method: string;
  readonly url: string;
  /** As the comment behind the command says; 200 where it says none. */
  readonly status: number;
}

let scratch = '';
let mesh: LoggedChild | undefined;

before(async () => {
  scratch = await realpath(await mkdtemp(join(tmpdir(), 'sg-readme-')));
});

after(async () => {
  await mesh?.stop();
  await rm(scratch, { recursive: true, force: true });
});

test('what the README of the sidecar mesh says can be typed as it stands, and does what it says', async () => {
  const dir = await copyExample();
  const [start = '', ask = ''] = codeBlocks(await readFile(join(dir, 'README.md'), 'utf8'));
  const path = [await commands(), dirname(nodePath()), process.env['PATH']].join(delimiter);
  mesh = startLoggedChild({
    name: 'readme',
    command: 'sh',
    // The commands leave processes in the background, and end with their shell.
    args: ['-e', '-c', `${start}\nwait`],
    cwd: dir,
    env: { PATH: path },
    logFile: join(scratch, 'readme.log'),
  });
  const lines = ask.split('\n').filter((line) => line.startsWith('curl '));
  assert.ok(lines.length >= 4);
  try {
    for (const { method, url, status } of lines.map(parseCurlLine)) {
      await waitUntil(`${status} for ${method} ${url}`, 30_000, async () => {
        const response = await fetch(url, { method, signal: AbortSignal.timeout(5000) });
        await response.body?.cancel();
        return response.status === status;
      });
    }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${lastLines(mesh.log(), 30)}`, { cause: error });
  }
});

/** The example on an address and ports of its own, with the policy where the README looks for it. */
async function copyExample(): Promise<string> {
  const dir = join(scratch, EXAMPLE);
  await cp(join(root, EXAMPLE), dir, { recursive: true });
  await cp(join(root, 'policies/rego'), join(scratch, 'policies/rego'), { recursive: true });
  const files = (await readdir(dir)).filter((name) => /\.(yaml|md)$/.test(name)).map((name) => join(dir, name));
  const texts = await Promise.all(files.map(async (file) => [file, await readFile(file, 'utf8')] as const));
  const named = /127\.0\.0\.1(:|, port_value: )([0-9]+)/g;
  const ports = [...new Set(texts.flatMap(([, text]) => [...text.matchAll(named)].map(([, , port]) => port)))];
  const address = await freeLoopbackAddress();
  const free = await freePorts(address, ports.length);
  for (const [file, text] of texts) {
    const moved = text.replace(
      named,
      (_, between: string, port: string) => `${address}${between}${free[ports.indexOf(port)]}`,
    );
    assert.doesNotMatch(moved, /127\.0\.0\.1/);
    await writeFile(file, moved);
  }
  return dir;
}

/** A folder with the commands that the README takes for granted. */
async function commands(): Promise<string> {
  const bin = join(scratch, 'commands');
  await mkdir(bin);
  await symlink(join(root, 'bin/svidgate.mjs'), join(bin, 'svidgate'));
  await symlink(envoyPath(), join(bin, 'envoy'));
  await symlink(pythonPath(), join(bin, 'python3'));
  return bin;
}

function codeBlocks(markdown: string): readonly string[] {
  return [...markdown.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
}

function parseCurlLine(line: string): CurlLine {
  const [command = '', comment = ''] = line.split('#');
  const [, method = 'GET', url = ''] = /^curl (?:-X ([A-Z]+) )?(\S+)\s*$/.exec(command) ?? [];
  assert.notEqual(url, '', line);
  return { method, url, status: Number(/^ ([0-9]{3}):/.exec(comment)?.[1] ?? 200) };
}
