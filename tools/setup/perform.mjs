/**
 * Does the steps that are missing or out of date, those that do not wait for one another at the same time, under the
 * lock of the clone.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { commandEnvironment, temporaryDir } from './environment.mjs';
import { findNpm, findPython } from './find-tools.mjs';
import { acquireLock } from './lock.mjs';
import { cacheDir, root, stampsDir } from './paths.mjs';
import { endLeftoverGroups } from './processes.mjs';
import { formatElapsed, openProgress } from './progress.mjs';
import { CommandError, runCommand } from './run-command.mjs';
import { openStamps } from './stamps.mjs';
import { staleSteps } from './steps.mjs';

/**
 * @typedef {import('./steps.mjs').Step} Step
 * @typedef {{ tests: boolean }} Purpose whether what only tests need is set up, too
 */

const groupsDir = join(cacheDir, 'groups');
const logsDir = join(cacheDir, 'logs');

/**
 * Removed when all is done. The caches of npm and pip only serve to go on after an interruption; those of Go make the
 * next build of the Rego compiler take seconds instead of more than a minute, and stay.
 */
const disposable = [temporaryDir, join(cacheDir, 'npm'), join(cacheDir, 'pip')];

const stamps = openStamps(stampsDir, root);

/** Something that set-up needs of the machine is not there; exit code 2. */
export class MissingToolError extends Error {
  /** @param {readonly string[]} missing */
  constructor(missing) {
    super(missing.join('\n'));
    this.name = 'MissingToolError';
    this.missing = missing;
  }
}

/** A step failed; exit code 1. */
export class StepError extends Error {
  /**
   * @param {string} step
   * @param {unknown} cause
   */
  constructor(step, cause) {
    super(`${step}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'StepError';
    this.tail = cause instanceof CommandError ? cause.tail : [];
    this.logFile = join(logsDir, `${step}.log`);
  }
}

/** @param {Step} step */
const isFresh = (step) => stamps.isFresh(step.name, step.inputs());

/**
 * Sets up what is missing. Prints nothing when nothing is.
 * @param {AbortSignal} signal ends it, with all commands it has running
 * @param {Purpose} purpose
 * @returns {Promise<void>}
 * @throws {MissingToolError} before anything was changed
 * @throws {StepError} after the other steps were ended; those that were done stay done
 */
export async function performSetUp(signal, purpose) {
  if (staleSteps(isFresh, purpose).length === 0) return;
  const progress = openProgress();
  try {
    const release = await acquireLock(join(cacheDir, 'setup.lock'), {
      signal,
      onWait(pid) {
        progress.say(`setup: waits for the one that is running in this clone (pid ${pid})`);
        progress.begin('waiting', `for pid ${pid}`);
      },
    });
    progress.end('waiting');
    try {
      await performStale(progress, signal, purpose);
    } finally {
      release();
    }
  } finally {
    progress.close();
  }
}

/**
 * @param {import('./progress.mjs').Progress} progress
 * @param {AbortSignal} signal
 * @param {Purpose} purpose
 */
async function performStale(progress, signal, purpose) {
  const ended = endLeftoverGroups(groupsDir);
  if (ended > 0) progress.say(`setup: ended ${ended} command(s) that an interrupted set-up left running`);
  const stale = staleSteps(isFresh, purpose);
  if (stale.length === 0) return;
  requireTools(stale);
  const started = Date.now();
  rmSync(temporaryDir, { recursive: true, force: true });
  mkdirSync(logsDir, { recursive: true });
  progress.say(`setup: ${stale.map(({ name }) => name).join(', ')}`);
  await performAll(stale, progress, signal);
  for (const dir of disposable) rmSync(dir, { recursive: true, force: true });
  progress.say(`setup: done in ${formatElapsed(Date.now() - started)}`);
}

/** @param {readonly Step[]} stale */
function requireTools(stale) {
  const names = new Set(stale.map(({ name }) => name));
  const found = [
    ...(names.has('node') || names.has('packages') ? [findNpm()] : []),
    ...(names.has('python') ? [findPython()] : []),
  ];
  const missing = found.flatMap((tool) => ('missing' in tool ? [tool.missing] : []));
  if (missing.length > 0) throw new MissingToolError(missing);
}

/**
 * Each step begins when those it needs are done. The first failure ends the others, and all are waited for.
 * @param {readonly Step[]} stale
 * @param {import('./progress.mjs').Progress} progress
 * @param {AbortSignal} signal
 */
async function performAll(stale, progress, signal) {
  const failed = new AbortController();
  /** @type {unknown} */
  let firstFailure;
  /** @type {Map<string, Promise<void>>} */
  const tasks = new Map();
  for (const [index, step] of stale.entries()) {
    const waits = step.needs().map((name) => tasks.get(name) ?? missingTask(name, stale));
    const task = (async () => {
      await Promise.all(waits);
      await performStep(step, {
        progress,
        signal: AbortSignal.any([signal, failed.signal]),
        label: `${index + 1}/${stale.length}`,
      });
    })();
    tasks.set(step.name, task);
    task.catch((/** @type {unknown} */ error) => {
      firstFailure ??= error;
      failed.abort(error);
    });
  }
  await Promise.allSettled(tasks.values());
  signal.throwIfAborted();
  if (firstFailure !== undefined) throw firstFailure;
}

/**
 * A needed step that has no task is either fresh, or told later in the list, which would be a mistake in steps.mjs.
 * @param {string} name
 * @param {readonly Step[]} stale
 */
function missingTask(name, stale) {
  if (stale.some((step) => step.name === name)) throw new Error(`step ${name} must stand before those that need it`);
  return Promise.resolve();
}

/**
 * @param {Step} step
 * @param {{ progress: import('./progress.mjs').Progress, signal: AbortSignal, label: string }} context
 */
async function performStep(step, { progress, signal, label }) {
  signal.throwIfAborted();
  const { name } = step;
  const started = Date.now();
  const inputs = step.inputs();
  const logFile = join(logsDir, `${name}.log`);
  rmSync(logFile, { force: true });
  stamps.remove(name);
  try {
    await step.perform({
      say(doing) {
        progress.say(`setup: ${label} ${name}: ${doing}`);
        progress.begin(name, doing);
      },
      run: (command, args, { env = commandEnvironment(), cwd = root } = {}) =>
        runCommand(command, args, {
          env,
          cwd,
          logFile,
          groupsDir,
          signal,
          onLine: (line) => progress.note(name, line),
        }),
    });
    stamps.write(name, inputs, step.outputs());
  } catch (error) {
    signal.throwIfAborted();
    if (step.without === undefined) throw new StepError(name, error);
    progress.say(`setup: ${label} ${new StepError(name, error).message}; ${step.without}`);
    return;
  } finally {
    progress.end(name);
  }
  progress.say(`setup: ${label} ${name}: done in ${formatElapsed(Date.now() - started)}`);
}
