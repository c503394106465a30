import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./lent-connection-program.ts', import.meta.url));

/** What the borrower tells: `ended` comes once for each call, `received` for each piece of a stream. */
export interface BorrowerAnswer {
  readonly kind: 'ready' | 'received' | 'ended';
  readonly method?: 'FetchSecrets' | 'StreamSecrets';
  /** The gRPC status, or `none` or `closed` where the connection ended without one. */
  readonly status?: string;
  readonly bytes?: number;
}

/** One connection in two processes: the owner made it, the borrower speaks gRPC on it. */
export interface LentConnection extends AsyncDisposable {
  /** The owner, which is whom the kernel names. */
  readonly pid: number;
  /** Lets the owner end; resolves when it has. */
  exit(): Promise<void>;
  /** Lets the owner become another program, by execve(2). */
  become(): void;
  /** Lets the borrower call a method of SDS, asking for all secrets. */
  call(method: 'FetchSecrets' | 'StreamSecrets'): void;
  /** The borrower's next answer. */
  next(): Promise<BorrowerAnswer>;
}

/** `executable` is what both run: a Node, maybe under another name. */
export async function lendConnection(
  socketPath: string,
  executable: string = process.execPath,
): Promise<LentConnection> {
  const owner = spawn(executable, [PROGRAM, 'own', socketPath], {
    stdio: ['pipe', 'ignore', 'inherit', 'ignore', 'pipe', 'pipe'],
  });
  const ended = once(owner, 'exit');
  const commands = owner.stdio[4] as Writable;
  const answers = createInterface({ input: owner.stdio.at(5) as Readable })[Symbol.asyncIterator]();
  const next = async (): Promise<BorrowerAnswer> => {
    const line = await answers.next();
    if (line.done === true) throw new Error('the borrower has ended');
    return JSON.parse(line.value) as BorrowerAnswer;
  };
  for (const stream of [owner.stdin, commands]) stream?.on('error', () => undefined);
  await next(); // ready
  return {
    pid: owner.pid ?? 0,
    async exit() {
      owner.stdin?.write('exit\n');
      await ended;
    },
    become: () => void owner.stdin?.write('become\n'),
    call: (method) => void commands.write(`${method}\n`),
    next,
    async [Symbol.asyncDispose]() {
      for (const stream of owner.stdio) stream?.destroy(); // the borrower ends when its commands do
      owner.kill('SIGKILL');
      await ended;
    },
  };
}
