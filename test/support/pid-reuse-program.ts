/**
 * Attests callers in a pid namespace of its own, in which it decides which pid comes next. Prints one JSON object a line.
 *
 *   pid-reuse-program.ts FOLDER   FOLDER holds a Node under the names `one` and `other`
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { realpathSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  createAttestor,
  createPeerTracker,
  createUnixAttestor,
  openKernel,
  type Kernel,
} from '../../src/attestation/index.ts';
import { describeError, noAudit, noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import type { PeerProcess } from '../../src/transport/index.ts';
import { waitUntil } from './wait-until.ts';

/** What came of one caller: `path` is what it was taken for. */
export interface PidReuseOutcome {
  readonly scenario: 'gone' | 'gone without pidfd' | 'gone before accept' | 'storm';
  /** Whether the pid was another process's when the caller was attested; the storm leaves that to chance. */
  readonly wasReused: boolean;
  readonly path?: string;
  readonly refusal?: string;
  /** What the caller was and, where it becomes another program, will be; empty when it did not say. */
  readonly genuine: readonly string[];
}

const folder = process.argv[2] ?? '';
const socketPath = join(folder, 's');
const SLEEP = realpathSync('/bin/sleep');
/** Connects, and says what it is, and what else it will be. */
const connect = (then: string, later = ''): string =>
  `require('net').connect(process.argv[1], function () { this.write(process.execPath + '|${later}\\n'); ${then} })`;
const STAY = connect('');
const EXIT = connect('process.exit();');
const EXEC = connect(`process.execve('${SLEEP}', ['sleep', '1'], {});`, SLEEP);

interface Connection {
  readonly peer?: PeerProcess;
  readonly refusal?: string;
  readonly genuine: Promise<readonly string[]>;
}

function tell(outcome: PidReuseOutcome): void {
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}

function program(name: 'one' | 'other', script: string): ChildProcess {
  return spawn(join(folder, name), ['--eval', script, socketPath], { stdio: 'ignore' });
}

/** The next process gets this pid, unless it is taken. */
function nextPid(pid: number): void {
  writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

function attestorOf(kernel: Kernel) {
  const tracker = createPeerTracker(kernel);
  const attestor = createAttestor({
    tracker,
    attestors: [createUnixAttestor({ discoverWorkloadPath: true, executableDigest: { kind: 'off' } })],
    allowWithoutPid: false,
    logger: silentLogger,
    metrics: noMetrics,
    audit: noAudit,
    clock: systemClock,
  });
  const attest = async (peer: PeerProcess): Promise<{ readonly path: string } | { readonly refusal: string }> => {
    try {
      const { selectors } = await attestor.attest(peer);
      const path = [...selectors].find((selector) => selector.startsWith('unix:path:')) ?? 'unix:path:none';
      return { path: path.slice('unix:path:'.length) };
    } catch (error) {
      return { refusal: describeError(error) };
    }
  };
  return { tracker, attest };
}

async function listen(tracker: { identify(fd: number): PeerProcess }, connections: Connection[]) {
  const server = createServer((socket: Socket) => {
    socket.on('error', () => undefined);
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    const genuine = Promise.race([once(socket, 'data'), once(socket, 'close')]).then(([line]) =>
      line instanceof Buffer
        ? line
            .toString()
            .trim()
            .split('|')
            .filter((path) => path !== '')
        : [],
    );
    genuine.catch(() => undefined);
    try {
      connections.push({ peer: tracker.identify(fd), genuine });
    } catch (error) {
      connections.push({ refusal: describeError(error), genuine });
    }
  });
  server.listen(socketPath);
  await once(server, 'listening');
  return server;
}

/** The caller ends after it was accepted, and another process has its pid when it is attested. */
async function gone(scenario: 'gone' | 'gone without pidfd', kernel: Kernel): Promise<void> {
  const { tracker, attest } = attestorOf(kernel);
  const connections: Connection[] = [];
  const server = await listen(tracker, connections);
  const caller = program('one', STAY);
  const { peer, genuine } = await waitUntil('the caller', 10_000, () => connections[0]);
  await end(caller);
  nextPid(caller.pid ?? 0);
  const successor = spawn('/bin/sleep', ['60']);
  const wasReused = successor.pid === caller.pid;
  tell({
    scenario,
    wasReused,
    genuine: await genuine,
    ...(peer === undefined ? { refusal: 'at accept' } : await attest(peer)),
  });
  await end(successor);
  server.close();
  tracker.close();
}

/** The caller has connected and ended, and another process has its pid, when the connection is accepted. */
async function goneBeforeAccept(): Promise<void> {
  const { tracker, attest } = attestorOf(openKernel());
  const connections: Connection[] = [];
  const server = await listen(tracker, connections);
  const { pid } = spawnSync(join(folder, 'one'), ['--eval', EXIT, socketPath]);
  nextPid(pid);
  const successor = spawn('/bin/sleep', ['60']);
  const { peer, refusal = '' } = await waitUntil('the connection', 10_000, () => connections[0]);
  const outcome = peer === undefined ? { refusal } : await attest(peer);
  tell({
    scenario: 'gone before accept',
    wasReused: successor.pid === pid,
    genuine: [join(folder, 'one')],
    ...outcome,
  });
  await end(successor);
  server.close();
  tracker.close();
}

/** Callers that stay, end and become another program, all with the same few pids. */
async function storm(rounds: number): Promise<void> {
  const { tracker, attest } = attestorOf(openKernel());
  const connections: Connection[] = [];
  const server = await listen(tracker, connections);
  for (let round = 0; round < rounds; round += 1) {
    nextPid(1000);
    const children = [program('one', EXIT), program('other', EXEC), program('one', STAY), program('other', EXIT)];
    await waitUntil('all callers', 20_000, () => connections.length >= (round + 1) * children.length);
    await Promise.all(
      connections.slice(round * children.length).map(async ({ peer, refusal = '', genuine }) => {
        const outcome = peer === undefined ? { refusal } : await attest(peer);
        tell({ scenario: 'storm', wasReused: false, genuine: await genuine.catch(() => []), ...outcome });
      }),
    );
    await Promise.all(children.map(end));
  }
  server.close();
  tracker.close();
}

await gone('gone', openKernel());
await gone('gone without pidfd', { ...openKernel(), peerPidfd: () => undefined });
await goneBeforeAccept();
await storm(15);
process.exit(0);
