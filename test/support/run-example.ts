import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import { envoyPath, nodePath, pythonPath, root } from '../../tools/setup/paths.mjs';
import { codeBlocks, readPage } from '../docs/markdown.ts';
import { portsOf, relocateText } from '../docs/relocate-text.ts';
import { consoleSteps, runShell, visibleText, type ShellResult } from '../docs/shell.ts';
import { freePorts } from './envoy-address.ts';
import { documentedPorts, relocate, type YamlMap } from './envoy-bootstrap.ts';
import { lastLines, startEnvoy, type Envoy } from './envoy.ts';
import type { EnvoyVersion } from './envoy-versions.ts';
import { startLoggedChild, type LoggedChild } from './logged-child.ts';
import { tempFolder } from './temp-folder.ts';
import { waitUntil } from './wait-until.ts';

/** An example of envoy-examples/ that runs as its page says, in a copy of its folder, on an address and ports of its own. */
export interface RunningExample extends AsyncDisposable {
  /** Its folder in envoy-examples/. */
  readonly name: string;
  readonly folder: string;
  readonly address: string;
  /** What a port of the page became. */
  port(documented: number): number;
  /** Runs text that names addresses and ports as the page does, in the folder. Fails when it does. */
  shell(script: string): Promise<string>;
  /** Types the `console` blocks of the page one after the other, and asserts what they print. */
  followPage(): Promise<void>;
  /** GET at an admin port of the page. */
  admin(port: number, path: string): Promise<string>;
  /** What all its programs have printed. */
  log(): string;
}

/** Starts what the first `sh` block of the page starts, and waits until its Envoys are ready. */
export async function startExample(name: string, envoy: EnvoyVersion): Promise<RunningExample> {
  const temporary = await tempFolder();
  const page = join('envoy-examples', name, 'README.md');
  const folder = join(temporary.path, dirname(page));
  await cp(join(root, dirname(page)), folder, { recursive: true });
  await symlink(join(root, 'policies'), join(temporary.path, 'policies'));
  const env = { ...process.env, PATH: await commandPath(join(temporary.path, 'commands'), envoy) };
  const blocks = codeBlocks(page, readPage(page));
  const start = blocks.find(({ language }) => language === 'sh')?.text ?? assert.fail(`${page} starts nothing`);
  const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml'));
  const texts = await Promise.all(files.map(async (file) => readFile(join(folder, file), 'utf8')));
  const place = await relocateText(portsOf([...texts, ...blocks.map(({ text }) => text)].join('\n')));
  for (const [index, file] of files.entries()) await writeFile(join(folder, file), place.apply(texts[index] ?? ''));

  const run = (script: string): Promise<ShellResult> => runShell(place.apply(script), { cwd: folder, env });
  const child = startLoggedChild({
    name,
    command: 'bash',
    // The commands leave processes in the background. Their shell ends last, so that all are gone when it is.
    args: ['-c', `trap 'wait; exit' TERM\n${place.apply(start)}\nwait`],
    cwd: folder,
    env: { PATH: env.PATH },
    logFile: join(temporary.path, 'example.log'),
  });
  const example: RunningExample = {
    name,
    folder,
    address: place.address,
    port: (documented) => place.port(documented),
    async shell(script) {
      const { code, stdout, stderr } = await run(script);
      assert.equal(code, 0, `${script}: ${stdout}${stderr}`);
      return stdout;
    },
    async followPage() {
      const typed = blocks.filter(({ language }) => language === 'console').map(({ text }) => text);
      await follow(typed.join('\n'), run);
    },
    async admin(port, path) {
      const answer = await fetch(`http://${place.address}:${place.port(port)}${path}`);
      return await answer.text();
    },
    log: () => child.log(),
    async [Symbol.asyncDispose]() {
      await child.stop();
      await temporary[Symbol.asyncDispose]();
    },
  };
  await untilReady(example, child, adminPortsOf(texts));
  return example;
}

export interface Variant {
  /** The configuration that differs. */
  readonly file: string;
  /** Whose executable it runs from, and so whose identity it has: a name in `bin/`. */
  readonly executable: string;
  readonly edit: (text: string) => string;
  /** What documented ports of others become; all other ports are new. */
  readonly upstreamPorts?: ReadonlyMap<number, number>;
}

export interface RunningVariant extends AsyncDisposable {
  readonly envoy: Envoy;
  port(documented: number): number;
}

/** One more Envoy beside those of the example, on ports of its own, with a configuration that differs from the page's. */
export async function startVariant(example: RunningExample, variant: Variant): Promise<RunningVariant> {
  const { file, executable, edit, upstreamPorts = new Map<number, number>() } = variant;
  const original = await readFile(join(root, 'envoy-examples', example.name, file), 'utf8');
  const edited = edit(original);
  assert.notEqual(edited, original);
  const bootstrap = parse(edited) as YamlMap;
  const documented = documentedPorts(bootstrap);
  const free = await freePorts(example.address, documented.length);
  const ports = new Map(documented.map((port, index) => [port, upstreamPorts.get(port) ?? free[index] ?? 0]));
  const envoy = await startEnvoy({
    name: 'variant',
    dir: example.folder,
    executable: join(example.folder, 'bin', executable),
    bootstrap: relocate(bootstrap, { address: example.address, ports, dir: example.folder }),
  });
  return { envoy, port: (port) => ports.get(port) ?? 0, [Symbol.asyncDispose]: () => envoy.stop() };
}

/** A PATH with the commands that the pages take for granted. */
async function commandPath(folder: string, envoy: EnvoyVersion): Promise<string> {
  await mkdir(folder);
  await symlink(join(root, 'bin/svidgate.mjs'), join(folder, 'svidgate'));
  await symlink(envoy.path ?? envoyPath(), join(folder, 'envoy'));
  await symlink(pythonPath(), join(folder, 'python3'));
  return [folder, dirname(nodePath()), process.env['PATH'] ?? ''].join(':');
}

function adminPortsOf(texts: readonly string[]): readonly number[] {
  return texts.flatMap((text) => {
    const [, port] = /^admin:[^]*?port_value: (\d+)/m.exec(text) ?? [];
    return port === undefined || !text.includes('static_resources:') ? [] : [Number(port)];
  });
}

async function untilReady(example: RunningExample, child: LoggedChild, ports: readonly number[]): Promise<void> {
  try {
    for (const port of ports) {
      await waitUntil(`the Envoy with admin port ${port} to be ready`, 60_000, async () => {
        return (await example.admin(port, '/ready')).trim() === 'LIVE';
      });
    }
  } catch (error) {
    await child.stop();
    throw new Error(`${(error as Error).message}\n${lastLines(child.log(), 30)}`, { cause: error });
  }
}

/** One shell for all steps, as somebody's terminal is: what one defines the next may use. */
async function follow(text: string, run: (script: string) => Promise<ShellResult>): Promise<void> {
  const end = '<end of step>';
  const steps = consoleSteps(text);
  const script = steps.map(({ command }) => `{ ${command}\n} 2>&1\nprintf '%s' '${end}'\n`).join('');
  const { code, stdout, stderr } = await run(script);
  const outputs = stdout.split(end);
  for (const [index, { command, output }] of steps.entries()) {
    assert.equal(visibleText(outputs[index] ?? ''), visibleText(output), `$ ${command}`);
  }
  assert.equal(code, 0, stderr);
}
