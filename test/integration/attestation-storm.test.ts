import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, link } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createAttestor, createPeerTracker, createUnixAttestor, openKernel } from '../../src/attestation/index.ts';
import { noAudit, noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import type { PidReuseOutcome } from '../support/pid-reuse-program.ts';
import { tempFolder } from '../support/temp-folder.ts';

const PROGRAM = fileURLToPath(new URL('../support/pid-reuse-program.ts', import.meta.url));
const PROCESSES = 10;
const CONNECTIONS = 100;

/** Becomes a user of its own where it may, connects many times at once, and says on each connection who it is. */
const CALLER = `
  const [path, count, id] = process.argv.slice(1);
  if (process.geteuid() === 0) { process.setgroups([Number(id) + 1]); process.setgid(Number(id)); process.setuid(Number(id)); }
  const claim = JSON.stringify({ pid: process.pid, uid: process.geteuid(), gid: process.getegid() }) + '\\n';
  process.stdin.once('data', () => {
    for (let index = 0; index < Number(count); index += 1) require('net').connect(path).on('connect', function () { this.write(claim); });
  });
  console.log('ready');
`;

interface Claim {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

test('1,000 callers that connect at once are each attested as themselves', async (t) => {
  await using folder = await tempFolder();
  await chmod(folder.path, 0o755); // for the other users
  const path = join(folder.path, 's');
  const tracker = createPeerTracker(openKernel());
  const attestor = createAttestor({
    tracker,
    attestors: [createUnixAttestor({ discoverWorkloadPath: true, executableDigest: { kind: 'unlimited' } })],
    allowWithoutPid: false,
    logger: silentLogger,
    metrics: noMetrics,
    audit: noAudit,
    clock: systemClock,
  });
  const isRoot = process.geteuid?.() === 0;
  const done = Promise.withResolvers<void>();
  const wrong: string[] = [];
  const took: number[] = [];
  const sockets = new Set<Socket>();
  const attest = async (socket: Socket): Promise<void> => {
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    const claiming = once(socket, 'data');
    const started = performance.now();
    const { selectors, caller } = await attestor.attest(tracker.identify(fd));
    took.push(performance.now() - started);
    const [line] = (await claiming) as [Buffer];
    const claim = JSON.parse(line.toString()) as Claim;
    const texts = [...selectors].map(String);
    const expected = [`unix:uid:${claim.uid}`, `unix:gid:${claim.gid}`, `unix:path:${process.execPath}`];
    if (isRoot) expected.push(`unix:supplementary_gid:${claim.gid + 1}`);
    const isRight =
      expected.every((text) => texts.includes(text)) && texts.some((text) => text.startsWith('unix:sha256:'));
    if (!isRight || caller.pid !== claim.pid) wrong.push(`${line.toString().trim()}: ${texts.join(' ')}`);
    if (took.length === PROCESSES * CONNECTIONS) done.resolve();
  };
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    attest(socket).catch((error: unknown) => done.reject(error));
  });
  const children = Array.from({ length: PROCESSES }, (_, index) =>
    spawn(process.execPath, ['--eval', CALLER, path, String(CONNECTIONS), String(20_000 + index * 10)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  const ended = children.map((child) => once(child, 'close'));
  try {
    await Promise.all([
      once(server.listen({ path, backlog: 2048, readableAll: true, writableAll: true }), 'listening'),
      ...children.map((child) => once(child.stdout, 'data')),
    ]);
    const started = performance.now();
    for (const child of children) child.stdin.write('go\n');
    const gone = Promise.race(ended).then(() => Promise.reject(new Error('a caller has ended')));
    await Promise.race([done.promise, gone]);
    const slowest = Math.max(...took);
    t.diagnostic(`all after ${Math.round(performance.now() - started)} ms, the slowest took ${Math.round(slowest)} ms`);
    assert.deepEqual(wrong, []);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    for (const socket of sockets) socket.destroy();
    server.close();
    tracker.close();
    await Promise.all(ended);
  }
});

test('no caller is taken for the process that has its pid by then', async (t) => {
  await using folder = await tempFolder();
  for (const name of ['one', 'other']) {
    const to = join(folder.path, name);
    await link(process.execPath, to).catch(() => copyFile(process.execPath, to)); // another file system
  }
  const own = process.geteuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const namespace = [...own, '--pid', '--fork', '--kill-child', '--mount-proc'];
  const child = spawn('unshare', [...namespace, process.execPath, PROGRAM, folder.path], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
    killSignal: 'SIGKILL',
  });
  const ended = once(child, 'close');
  let complaint = '';
  child.stderr.on('data', (piece: Buffer) => (complaint += piece.toString()));
  const outcomes: PidReuseOutcome[] = [];
  try {
    for await (const line of createInterface({ input: child.stdout }))
      outcomes.push(JSON.parse(line) as PidReuseOutcome);
    const [code] = (await ended) as [number | null];
    if (outcomes.length === 0 && complaint.startsWith('unshare:'))
      return t.skip(`no pid namespaces here: ${complaint}`);
    assert.equal(code, 0, complaint);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
  const told = outcomes.map((outcome) => JSON.stringify(outcome));
  const reused = outcomes.filter(({ scenario }) => scenario !== 'storm');
  assert.deepEqual(
    reused.map(({ scenario, wasReused }) => [scenario, wasReused]),
    [
      ['gone', true],
      ['gone without pidfd', true],
      ['gone before accept', true],
    ],
  );
  assert.deepEqual(
    reused.filter(({ refusal }) => refusal === undefined),
    [],
    'whose pid is another’s is refused',
  );
  const storm = outcomes.filter(({ scenario }) => scenario === 'storm');
  const taken = storm.filter(({ path }) => path !== undefined);
  // What becomes another program before it is accepted is that program.
  const mistaken = taken.filter(({ path = '', genuine }) => genuine.length > 0 && !genuine.includes(path));
  assert.deepEqual(mistaken, [], told.join('\n'));
  assert.ok(taken.length >= 15, 'those that stayed were attested');
  t.diagnostic(`${storm.length} callers, ${taken.length} attested, ${storm.length - taken.length} refused`);
});
