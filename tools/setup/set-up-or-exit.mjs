/**
 * Set-up as a command does it: signals end it cleanly, failures are told and become exit codes.
 */
import { MissingToolError, performSetUp, StepError } from './perform.mjs';
import { writeToStderr } from './progress.mjs';

/** @type {readonly NodeJS.Signals[]} */
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Returns when everything is set up, else ends the process.
 * @param {import('./perform.mjs').Purpose} purpose
 * @returns {Promise<void>}
 */
export async function setUpOrExit(purpose) {
  const controller = new AbortController();
  /** @type {NodeJS.Signals | undefined} */
  let received;
  const onSignal = (/** @type {NodeJS.Signals} */ name) => {
    if (received === undefined) writeToStderr(`svidgate setup: stopping on ${name}\n`);
    received = name;
    controller.abort(new Error(`received ${name}`));
  };
  for (const name of ENDING_SIGNALS) process.on(name, onSignal);
  try {
    await performSetUp(controller.signal, purpose);
  } catch (error) {
    if (received === undefined) process.exit(tell(error));
    writeToStderr('svidgate setup: interrupted; the same command goes on from here\n');
  } finally {
    for (const name of ENDING_SIGNALS) process.removeListener(name, onSignal);
  }
  // Ends by the signal itself, so that a shell sees an interrupted command and not a failed one.
  if (received !== undefined) {
    process.kill(process.pid, received);
    process.exit(1);
  }
}

/**
 * @param {unknown} error
 * @returns {number} the exit code
 */
function tell(error) {
  if (error instanceof MissingToolError) {
    for (const line of error.missing) writeToStderr(`svidgate setup: ${line}\n`);
    return 2;
  }
  if (error instanceof StepError) {
    for (const line of error.tail) writeToStderr(`  | ${line}\n`);
    writeToStderr(`svidgate setup: ${error.message}\n`);
    if (error.tail.length > 0) writeToStderr(`svidgate setup: the whole output is in ${error.logFile}\n`);
    writeToStderr('svidgate setup: the same command goes on from here\n');
    return 1;
  }
  writeToStderr(`svidgate setup: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 1;
}
