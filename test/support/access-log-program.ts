/**
 * access-log-program FOLDER: takes the logs of Envoys at FOLDER/api.sock, in a process of its own that a test can stop and kill.
 * Tells its parent `ready`, and what its books say whenever it is asked.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { OffloadEvidence } from '../../src/evidence/index.ts';
import { startAccessLogStage } from './access-log-stage.ts';

export interface AccessLogProgram extends AsyncDisposable {
  readonly pid: number;
  /** Of policy `default`, of what was allowed; of the Envoy that lives. */
  evidence(): Promise<OffloadEvidence | undefined>;
  signal(name: NodeJS.Signals): void;
  /** Lets it end by itself, or sends the signal and waits. */
  end(name?: NodeJS.Signals): Promise<void>;
}

/** Ready. */
export async function startAccessLogProgram(folder: string): Promise<AccessLogProgram> {
  const child = fork(fileURLToPath(import.meta.url), [folder], { execArgv: [] });
  await once(child, 'message');
  const exited = once(child, 'exit');
  const end = async (name: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    child.kill(name);
    await exited;
  };
  return {
    pid: child.pid ?? 0,
    evidence: () => evidenceOf(child),
    signal: (name) => void child.kill(name),
    end,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await end('SIGKILL');
    },
  };
}

async function evidenceOf(child: ChildProcess): Promise<OffloadEvidence | undefined> {
  const answered = once(child, 'message');
  child.send('status');
  const [lines] = (await answered) as [readonly OffloadEvidence[]];
  return lines.find(({ pid, policy, outcome }) => pid !== undefined && policy === 'default' && outcome === 'allow');
}

async function main(folder: string): Promise<void> {
  const stage = await startAccessLogStage(folder);
  process.on('message', () => process.send?.(stage.books.status()));
  process.once('SIGTERM', () => void stage[Symbol.asyncDispose]().then(() => process.disconnect()));
  process.send?.('ready');
}

if (import.meta.main) await main(process.argv[2] ?? '');
