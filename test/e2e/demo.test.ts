import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  findSecrets,
  KEY_NEEDLES,
  needlesOfDataDirectory,
  needlesOfKey,
  searchableFiles,
  type Needle,
} from '../../tools/demo/secrets.ts';
import { generateKeyPair, pemEncode, privateKeyToPkcs8 } from '../../src/pki/index.ts';
import { root } from '../../tools/setup/paths.mjs';
import { waitUntil } from '../support/wait-until.ts';

interface DemoRun {
  readonly pid: number;
  /** What the demo says as it goes. */
  output(): string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** A temporary folder of our own, so that what a run leaves behind is seen. Short: Unix sockets go beneath it. */
let scratch = '';

before(async () => {
  scratch = await realpath(await mkdtemp(join(tmpdir(), 'sg-e2e-')));
});

after(async () => {
  // A run that failed with --keep has left its processes.
  for (const pid of processesUsing(scratch)) process.kill(pid, 'SIGKILL');
  await rm(scratch, { recursive: true, force: true });
});

test('the demo passes twice at the same time, leaves no process, and no secret in anything it wrote', async () => {
  const runs = [startDemo(['--keep-files']), startDemo(['--keep'])];
  for (const run of runs) {
    const { code } = await run.ended;
    assert.equal(code, 0, run.output());
    const [, passed] = /\ndemo: ([0-9]+) passed, 0 failed\n$/.exec(run.output()) ?? [];
    assert.ok(Number(passed) >= 25, run.output());
  }
  const output = runs.map((run) => run.output()).join('');
  const folders = (await readdir(scratch)).filter((name) => name.startsWith('svidgate-demo-'));
  assert.equal(folders.length, 2);
  for (const folder of folders) await assertNoSecrets(join(scratch, folder), output);
  await assertKeptAndStopped(output);
  assert.deepEqual(processesUsing(scratch), []);
  assert.equal((await readdir(scratch)).length, 1);
});

test('without --keep-files no temporary folder is left, also when the demo is interrupted', async () => {
  const others = new Set(await readdir(scratch));
  const run = startDemo([]);
  await waitUntil('the mesh to be up', 60_000, () => /\nok +GET \/shop\/7/.test(run.output()));
  const children = descendantsOf(run.pid);
  assert.ok(children.length >= 6, `one mesh is at least six processes, seen were ${children.length}`);
  process.kill(run.pid, 'SIGTERM');
  assert.deepEqual(await run.ended, { code: 143, signal: null }, run.output());
  assert.deepEqual(processesUsing(scratch), []);
  assert.deepEqual(
    (await readdir(scratch)).filter((name) => !others.has(name)),
    [],
  );
});

test('the search finds each form of a secret that it looks for', () => {
  const pem = pemEncode('PRIVATE KEY', privateKeyToPkcs8(generateKeyPair().privateKey));
  const needles = [...KEY_NEEDLES, ...needlesOfKey('the key', pem)];
  const der = Buffer.from(pem.split('\n').slice(1, -2).join(''), 'base64');
  const scalar = der.subarray(36, 68);
  const forms = {
    'the PEM text': pem,
    'PEM in a JSON text': JSON.stringify({ key: pem }),
    'DER in base64 on one line': der.toString('base64'),
    'the private part in hexadecimal': scalar.toString('hex'),
    'the private part as a JWK has it': scalar.toString('base64url'),
    'the second line of the PEM text': pem.split('\n')[2] ?? '',
  };
  for (const [what, text] of Object.entries(forms)) {
    assert.notDeepEqual(findSecrets(new Map([['log', `before ${text} after`]]), needles), [], what);
  }
  assert.deepEqual(findSecrets(new Map([['log', 'nothing to see']]), needles), []);
});

test('wrong arguments end with 2 and the help, --help with 0', async () => {
  const cases = [
    { args: ['--help'], code: 0, output: /Usage: npm run demo/ },
    { args: ['--keeep'], code: 2, output: /unknown argument --keeep/ },
  ];
  for (const { args, code, output } of cases) {
    const run = startDemo(args);
    assert.equal((await run.ended).code, code);
    assert.match(run.output(), output);
  }
});

function startDemo(args: readonly string[]): DemoRun {
  const child = spawn(process.execPath, [join(root, 'tools/demo/main.ts'), ...args], {
    cwd: root,
    env: { ...process.env, TMPDIR: scratch, SVIDGATE_DEMO_KEEP_FILES: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (output += String(chunk)));
  after(() => child.kill('SIGTERM'));
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
  }));
  return { pid: child.pid ?? 0, output: () => output, ended };
}

/** The run with --keep still answers, its children are all that is left, and its script ends them and their folder. */
async function assertKeptAndStopped(output: string): Promise<void> {
  const [, url = ''] = /^gateway +(http:.*)$/m.exec(output) ?? [];
  const [, script = ''] = /^to stop +sh (.*)$/m.exec(output) ?? [];
  const response = await fetch(url);
  assert.equal(response.status, 200, await response.text());
  assert.equal(processesUsing(scratch).length, 6);
  const [code] = (await once(spawn('sh', [script], { stdio: 'inherit' }), 'close')) as [number];
  assert.equal(code, 0);
  await waitUntil('the processes to end', 10_000, () => processesUsing(scratch).length === 0);
}

async function assertNoSecrets(dir: string, output: string): Promise<void> {
  const sent = JSON.parse(await readFile(join(dir, 'sent-secrets.json'), 'utf8')) as Record<string, string>;
  const needles: readonly Needle[] = [
    ...KEY_NEEDLES,
    ...(await needlesOfDataDirectory(join(dir, 'data'))),
    ...Object.entries(sent).map(([what, text]) => ({ what, text })),
  ];
  assert.equal(Object.keys(sent).length, 3);
  const texts = new Map(await searchableFiles(dir));
  for (const log of ['svidgate', 'gateway', 'web', 'orders'])
    assert.ok(texts.get(`log/${log}.log`), `${log} wrote a log`);
  texts.set('the output', output);
  assert.deepEqual(findSecrets(texts, needles), []);
}

/** The children of a process, and theirs. */
function descendantsOf(pid: number): readonly number[] {
  const parents = runningPids().map((child) => [child, parentOf(child)] as const);
  const found = new Set([pid]);
  for (let size = 0; size !== found.size;) {
    size = found.size;
    for (const [child, parent] of parents) if (found.has(parent)) found.add(child);
  }
  found.delete(pid);
  return [...found];
}

function parentOf(pid: number): number {
  try {
    // pid (name) state ppid: the name may hold anything but a last parenthesis.
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1]);
  } catch {
    return 0; // Ended between the look and the read.
  }
}

/** The processes that run from, or in, a folder. */
function processesUsing(folder: string): readonly number[] {
  const uses = (pid: number, what: string): boolean => {
    const path = `/proc/${pid}/${what}`;
    try {
      return existsSync(`/proc/${pid}`) && readlinkSync(path).startsWith(folder);
    } catch {
      return false;
    }
  };
  return runningPids().filter((pid) => uses(pid, 'exe') || uses(pid, 'cwd'));
}

function runningPids(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number);
}
