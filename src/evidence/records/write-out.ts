import { constants, fstatSync, openSync, write } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { WriteOut } from '../sinks/index.ts';

const STANDARD_OUTPUT = 1;
const RETRY_MS = 20;
const writeSome = promisify(write);

/** Standard output for the recording thread. A reader that does not read holds up nothing but the records for it. */
export function openWriteOut(): WriteOut {
  const fd = ownOutput();
  return async (lines) => {
    let left: Uint8Array = Buffer.from(lines);
    while (left.byteLength > 0) {
      const written = await attempt(fd, left);
      if (written === 0) await pause(RETRY_MS);
      left = left.subarray(written);
    }
  };
}

/** A description of our own for a pipe: the mode of the inherited one belongs to its other holders, too. */
function ownOutput(): number {
  try {
    if (!fstatSync(STANDARD_OUTPUT).isFIFO()) return STANDARD_OUTPUT;
    return openSync(`/proc/self/fd/${STANDARD_OUTPUT}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return STANDARD_OUTPUT;
  }
}

/** How many bytes were taken; 0 while the pipe is full. */
async function attempt(fd: number, bytes: Uint8Array): Promise<number> {
  try {
    return (await writeSome(fd, bytes)).bytesWritten;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return 0;
    throw error;
  }
}
