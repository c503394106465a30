/**
 * Says on the standard error what set-up does and how long it takes. On a terminal a last line is redrawn each second;
 * elsewhere a line every ten seconds tells what is still running.
 */
import { writeSync } from 'node:fs';

const TERMINAL_PERIOD_MS = 1000;
const LOG_PERIOD_MS = 10_000;

/**
 * @typedef {object} Progress
 * @property {(text: string) => void} say a line of its own
 * @property {(step: string, doing: string) => void} begin a step goes on to something
 * @property {(step: string, detail: string) => void} note the latest line of output of a step
 * @property {(step: string) => void} end a step is no longer running
 * @property {() => void} close
 */

/**
 * @param {{ write?: (text: string) => void, isTerminal?: boolean, columns?: number }} [options]
 * @returns {Progress}
 */
export function openProgress({
  write = writeToStderr,
  isTerminal = process.stderr.isTTY && !process.env['CI'],
  columns = process.stderr.columns || 80,
} = {}) {
  const started = Date.now();
  /** @type {Map<string, { doing: string, since: number, detail: string }>} */
  const running = new Map();
  const clear = isTerminal ? '\r\x1b[K' : '';
  const status = () => {
    const parts = [...running].map(([step, { doing, since, detail }]) => {
      return `${step}: ${doing} (${formatElapsed(Date.now() - since)})${detail === '' ? '' : `: ${detail}`}`;
    });
    return `setup: ${formatElapsed(Date.now() - started)} … ${parts.join(' · ')}`;
  };
  const beat = () => {
    if (running.size === 0) return;
    const text = status();
    write(isTerminal ? `${clear}${text.slice(0, columns - 1)}` : `${text}\n`);
  };
  const timer = setInterval(beat, isTerminal ? TERMINAL_PERIOD_MS : LOG_PERIOD_MS);
  return {
    say: (text) => write(`${clear}${text}\n`),
    begin: (step, doing) => running.set(step, { doing, since: Date.now(), detail: '' }),
    note(step, detail) {
      const entry = running.get(step);
      const text = detail.trim();
      // npm's warnings are about the user's own settings, and stand there for as long as it has nothing else to say.
      if (entry === undefined || text === '' || text.startsWith('npm warn')) return;
      entry.detail = text.slice(0, 60);
    },
    end: (step) => running.delete(step),
    close() {
      clearInterval(timer);
      if (isTerminal) write(clear);
    },
  };
}

/**
 * Milliseconds as people read them: `0.4 s`, `12 s`, `3 min 5 s`.
 * @param {number} ms
 * @returns {string}
 */
export function formatElapsed(ms) {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/**
 * Synchronous, so that nothing is lost when the process ends or is replaced right after.
 * @param {string} text
 */
export function writeToStderr(text) {
  try {
    writeSync(2, text);
  } catch {
    // A closed or full pipe: progress is not worth failing for.
  }
}
