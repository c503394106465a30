import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildGo } from './conformance-client.ts';
import { tempFolder } from './temp-folder.ts';

/** The agent of test/conformance/agent, which shares no code with us: trust domain example.test, all callers get all it has. */
export interface GoAgent extends AsyncDisposable {
  readonly socket: string;
  /** PEM: the CA that signs. */
  readonly caFile: string;
  /** What it gives from now on, in this order: paths of SPIFFE IDs. */
  give(...paths: readonly string[]): Promise<void>;
  /** As `kill -9`. */
  kill(): Promise<void>;
  /** Another process with the same keys, giving what `paths` say. */
  start(...paths: readonly string[]): Promise<void>;
}

/** It is not started yet. @param ttl of an X.509-SVID, such as `4s`; rotated at half of it */
export async function createGoAgent(ttl: string): Promise<GoAgent> {
  const program = await buildGo('agent');
  const folder = await tempFolder();
  const socket = join(folder.path, 'agent.sock');
  const keys = join(folder.path, 'keys');
  await mkdir(keys, { mode: 0o700 });
  let process: RunningAgent | undefined;
  const give: GoAgent['give'] = async (...paths) => {
    if (process === undefined) throw new Error('the agent is not running');
    await process.tell(paths.map((path) => `spiffe://example.test${path}`));
  };
  const kill = async (): Promise<void> => {
    await process?.kill();
    process = undefined;
  };
  return {
    socket,
    caFile: join(keys, 'ca.pem'),
    give,
    kill,
    async start(...paths) {
      process = runAgent(program, [socket, keys, ttl]);
      await give(...paths);
    },
    async [Symbol.asyncDispose]() {
      await kill();
      await folder[Symbol.asyncDispose]();
    },
  };
}

interface RunningAgent {
  /** Resolves when it has taken them. */
  tell(spiffeIds: readonly string[]): Promise<void>;
  kill(): Promise<void>;
}

function runAgent(program: string, args: readonly string[]): RunningAgent {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (errors += piece));
  // A write to an agent that has ended fails here too; `tell` says why it ended.
  child.stdin.on('error', () => undefined);
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async tell(spiffeIds) {
      child.stdin.write(`${JSON.stringify(spiffeIds)}\n`);
      const { done } = await answers.next();
      if (done === true) throw new Error(`the agent ended: ${errors.slice(-2000)}`);
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
