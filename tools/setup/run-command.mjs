/**
 * Runs the commands of set-up: each in a process group of its own, so that an interruption ends all that it started,
 * with its output kept in a log file instead of on the screen.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { recordGroup, signalGroup } from './processes.mjs';

/** How long a command has to end after SIGTERM before SIGKILL. */
const GRACE_MS = 5000;

/** How many lines of its output a failed command shows. */
const TAIL_LINES = 25;

/** A command that ended with something else than 0, or could not be started. */
export class CommandError extends Error {
  /**
   * @param {string} message
   * @param {readonly string[]} tail the last lines of its output
   */
  constructor(message, tail) {
    super(message);
    this.name = 'CommandError';
    this.tail = tail;
  }
}

/**
 * @typedef {object} CommandOptions
 * @property {NodeJS.ProcessEnv} env
 * @property {string} cwd
 * @property {string} logFile the output is added to it
 * @property {string} groupsDir where the running process group is noted
 * @property {AbortSignal} signal ends the command
 * @property {(line: string) => void} [onLine] each line of its output
 */

/**
 * Runs a command to its end.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {CommandOptions} options
 * @returns {Promise<void>}
 * @throws {CommandError} when it fails; the signal's reason when it was ended by the signal
 */
export async function runCommand(command, args, options) {
  options.signal.throwIfAborted();
  mkdirSync(dirname(options.logFile), { recursive: true });
  const log = openSync(options.logFile, 'a');
  const shown = [command, ...args].join(' ');
  writeSync(log, `$ ${shown}\n`);
  /** @type {string[]} */
  const tail = [];
  try {
    const end = await spawnInGroup(command, args, options, (line) => {
      writeSync(log, `${line}\n`);
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      options.onLine?.(line);
    });
    options.signal.throwIfAborted();
    if (end !== 0) throw new CommandError(`\`${shown}\` ended with ${end}`, tail);
  } finally {
    closeSync(log);
  }
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {CommandOptions} options
 * @param {(line: string) => void} onLine
 * @returns {Promise<number | string>} exit code or name of the signal
 */
function spawnInGroup(command, args, { env, cwd, groupsDir, signal }, onLine) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const { pid } = child;
    if (pid === undefined) {
      child.once('error', (error) => reject(new CommandError(`cannot start \`${command}\`: ${error.message}`, [])));
      return;
    }
    const forget = recordGroup(groupsDir, pid);
    /** @type {NodeJS.Timeout | undefined} */
    let grace;
    const stop = () => {
      signalGroup(pid, 'SIGTERM');
      grace = setTimeout(() => signalGroup(pid, 'SIGKILL'), GRACE_MS);
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    splitLines(child.stdout, onLine);
    splitLines(child.stderr, onLine);
    child.once('close', (code, killedBy) => {
      clearTimeout(grace);
      signal.removeEventListener('abort', stop);
      // Whatever it left in the background would go on changing files that the next step counts on.
      signalGroup(pid, 'SIGKILL');
      forget();
      resolve(code ?? killedBy ?? 'an unknown end');
    });
  });
}

/**
 * @param {import('node:stream').Readable} stream
 * @param {(line: string) => void} onLine
 */
function splitLines(stream, onLine) {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (/** @type {string} */ chunk) => {
    const lines = (rest + chunk).split(/\r?\n|\r/);
    rest = /** @type {string} */ (lines.pop());
    for (const line of lines) onLine(line);
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}
