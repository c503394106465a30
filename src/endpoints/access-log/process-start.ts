import { readFileSync } from 'node:fs';

/** Of `/proc/PID/stat`, counted after the name, which may hold anything. */
const START_TIME = 19;

/** When a process began, in clock ticks since the machine did; undefined where that cannot be seen. */
export function startTicksOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const ticks = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[START_TIME]);
    return Number.isSafeInteger(ticks) ? ticks : undefined;
  } catch {
    return undefined;
  }
}
