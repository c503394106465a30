import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child process whose output goes to a file. It never outlives this process, unless it is released. */
export interface LoggedChild {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  readonly exited: Promise<ChildExit>;
  isRunning(): boolean;
  /** All that it has written so far. */
  log(): string;
  /** Sends the signal, by default SIGTERM; after `graceMs`, by default 5 s, SIGKILL. Resolves when it has ended. */
  stop(signal?: NodeJS.Signals, graceMs?: number): Promise<ChildExit>;
  /** Lets it live on after this process. */
  release(): void;
}

export interface ChildCommand {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Appended to when it is there. */
  readonly logFile: string;
  /** Added to our own environment. */
  readonly env?: Readonly<Record<string, string>>;
}

const alive = new Set<number>();

/** Kills every child that is neither ended nor released, at once. It happens by itself when this process exits. */
export function killLoggedChildren(): void {
  for (const pid of alive) killGroup(pid, 'SIGKILL');
}

/** A signal that ends us ends our children first, unless somebody else takes care of that signal. */
function killAllAndEnd(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  killLoggedChildren();
  process.off(signal, killAllAndEnd);
  process.kill(process.pid, signal);
}

function guardChildren(): void {
  if (process.listeners('exit').includes(killLoggedChildren)) return;
  process.on('exit', killLoggedChildren);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, killAllAndEnd);
}

/** Starts a child in a process group of its own, so that a terminal's Ctrl-C reaches us first. Throws when it cannot. */
export function startLoggedChild({ name, command, args, cwd, logFile, env }: ChildCommand): LoggedChild {
  const log = openSync(logFile, 'a', 0o600);
  let child: ChildProcess;
  try {
    child = spawn(command, args, { cwd, detached: true, env: { ...process.env, ...env }, stdio: ['ignore', log, log] });
  } finally {
    closeSync(log);
  }
  let spawnError: Error | undefined;
  child.once('error', (error) => (spawnError = error));
  const { pid } = child;
  const exited = new Promise<ChildExit>((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('exit', (code, signal) => {
      if (pid !== undefined) alive.delete(pid);
      resolve({ code, signal });
    });
  });
  if (pid === undefined) throw new Error(`${name} cannot be started from ${command}`, { cause: spawnError });
  guardChildren();
  alive.add(pid);
  return {
    name,
    pid,
    logFile,
    exited,
    isRunning: () => alive.has(pid),
    log: () => readFileSync(logFile, 'utf8'),
    async stop(signal = 'SIGTERM', graceMs = 5000) {
      if (!alive.has(pid)) return exited;
      killGroup(pid, signal);
      const timer = setTimeout(() => killGroup(pid, 'SIGKILL'), graceMs);
      const exit = await exited;
      clearTimeout(timer);
      return exit;
    },
    release() {
      alive.delete(pid);
      child.unref();
    },
  };
}

/** The whole group, so that what a child started goes with it. It may be gone already. */
function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Ended between the look and the kill.
  }
}
