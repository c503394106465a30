import { setPriority } from 'node:os';

const NICE = 10;

/**
 * Has this thread stand back where others want the processor: on Linux each thread has a priority of its own. Where it cannot
 * be set, the thread competes.
 */
export function giveWay(): void {
  try {
    setPriority(0, NICE);
  } catch {
    // A sandbox may forbid the call.
  }
}
