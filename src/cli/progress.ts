import type { Terminal } from './terminal.ts';

const FIRST_MS = 1000;
const LONGEST_MS = 10_000;

/** Says on standard error how far something is: after a second, and then less and less often. */
export function createProgress(terminal: Terminal): (text: () => string) => void {
  let pauseMs = FIRST_MS;
  let next = performance.now() + pauseMs;
  return (text) => {
    const now = performance.now();
    if (now < next) return;
    terminal.err(`${text()}\n`);
    pauseMs = Math.min(2 * pauseMs, LONGEST_MS);
    next = now + pauseMs;
  };
}
