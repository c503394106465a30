import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { copyFile, link, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./sds-load-program.ts', import.meta.url));

export type SdsLoadKind = 'hold' | 'stuck' | 'flood';

export interface SdsLoadReport {
  /** How many answers came. */
  readonly answers: number;
  /** How often streams ended with which status, other than by our own end. */
  readonly ends: Readonly<Record<string, number>>;
}

/** A process that puts load on SDS; see sds-load-program.ts. Killed when it is disposed of. */
export interface SdsLoad extends AsyncDisposable {
  stop(): Promise<SdsLoadReport>;
}

/** A Node of its own name, by which `unix:path` knows it. */
export async function linkNode(folder: string, name: string): Promise<string> {
  const target = join(folder, 'bin', name);
  await mkdir(join(folder, 'bin'), { recursive: true });
  try {
    await link(process.execPath, target);
  } catch {
    await copyFile(process.execPath, target, constants.COPYFILE_FICLONE);
  }
  return target;
}

/** Resolves when the load is there. */
export async function startSdsLoad(options: {
  readonly node: string;
  /** The path alone. */
  readonly socket: string;
  readonly kind: SdsLoadKind;
  readonly connections: number;
}): Promise<SdsLoad> {
  const { node, socket, kind, connections } = options;
  const child = spawn(node, [PROGRAM, socket, kind, String(connections)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (output += piece));
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await closed;
  };
  while (!output.startsWith('ready\n')) {
    await Promise.race([once(child.stdout, 'data'), closed]);
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${kind} ended: ${output}`);
  }
  return {
    async stop() {
      child.stdin.end();
      await closed;
      return JSON.parse(output.slice('ready\n'.length)) as SdsLoadReport;
    },
    [Symbol.asyncDispose]: end,
  };
}
