import { constants, fstatSync, openSync, writeSync } from 'node:fs';

/** Takes whole lines, newline included. */
export interface LineSink {
  write(line: string): void;
}

export interface StandardOutput extends LineSink {
  /** Lines that must not get lost: resolves when all of them are out, rejects when nobody reads any more. */
  writeAll(lines: string): Promise<void>;
}

/** What waits for a reader that is slow; beyond it lines are lost, and counted. */
const MAX_WAITING_BYTES = 4 * 2 ** 20;
const RETRY_MS = 20;
/** A process that ends waits no longer than this for a reader that does not read. */
const PATIENCE_MS = 1000;

/**
 * Standard output, written before the call returns, so that the last lines before a kill -9 are there. A pipe that
 * nobody empties must not hold the process: then lines wait, and those that find no room are counted in a line of
 * their own. A reader that went away is not an error.
 */
export function openStandardOutput(): StandardOutput {
  // One for the process: what two of them wrote would stand in the middle of each other's lines.
  shared ??= new PatientSink(nonBlockingOutput());
  return shared;
}

let shared: PatientSink | undefined;

const STANDARD_OUTPUT = 1;

/** A descriptor that a full pipe or socket does not block. Files and terminals do not block for long. */
function nonBlockingOutput(): number {
  try {
    const stat = fstatSync(STANDARD_OUTPUT);
    // A description of our own: the mode of the inherited one belongs to its other holders, too.
    if (stat.isFIFO()) return openSync(`/proc/self/fd/${STANDARD_OUTPUT}`, constants.O_WRONLY | constants.O_NONBLOCK);
    // Sockets cannot be opened anew; Node makes this one non-blocking when it makes a stream of it.
    if (stat.isSocket()) void process.stdout.writable;
  } catch {
    // It is as it is: lines are written all the same.
  }
  return STANDARD_OUTPUT;
}

/** What is to be written, and who waits for it. */
interface Piece {
  bytes: Buffer;
  readonly done?: PromiseWithResolvers<undefined>;
}

class PatientSink implements StandardOutput {
  readonly #fd: number;
  readonly #waiting: Piece[] = [];
  #waitingBytes = 0;
  #lost = 0;
  #progressAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(line: string): void {
    if (this.#closed) return;
    const bytes = Buffer.from(line);
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#lost += 1;
      return;
    }
    this.#add({ bytes });
  }

  async writeAll(lines: string): Promise<void> {
    const done = Promise.withResolvers<undefined>();
    if (this.#closed) throw new Error('nobody reads standard output');
    this.#add({ bytes: Buffer.from(lines), done });
    await done.promise;
  }

  #add(piece: Piece): void {
    if (this.#waiting.length === 0) this.#progressAt = performance.now();
    this.#waiting.push(piece);
    this.#waitingBytes += piece.bytes.length;
    if (this.#timer === undefined) this.#flush();
  }

  #flush(): void {
    this.#timer = undefined;
    for (let head = this.#waiting[0]; head !== undefined && !this.#closed; head = this.#waiting[0]) {
      const written = this.#tryWrite(head.bytes);
      this.#waitingBytes -= written;
      if (written > 0) this.#progressAt = performance.now();
      if (written < head.bytes.length) {
        head.bytes = head.bytes.subarray(written);
        return this.#retryLater();
      }
      this.#waiting.shift();
      if (!this.#closed) head.done?.resolve(undefined);
      else this.#giveUp(head);
      if (this.#lost > 0 && this.#waiting.length === 0) this.#tellLoss();
    }
  }

  /** There is nobody to write for. */
  #giveUp(head: Piece): void {
    for (const { done } of [head, ...this.#waiting]) done?.reject(new Error('nobody reads standard output'));
    this.#waiting.length = 0;
  }

  #retryLater(): void {
    this.#timer = setTimeout(() => this.#flush(), RETRY_MS);
    if (performance.now() - this.#progressAt > PATIENCE_MS) this.#timer.unref();
  }

  #tellLoss(): void {
    const fields = { level: 'warn', time: new Date().toISOString(), count: this.#lost };
    const line = Buffer.from(`${JSON.stringify({ ...fields, msg: 'log lines lost: nobody read them' })}\n`);
    this.#lost = 0;
    this.#waiting.push({ bytes: line });
    this.#waitingBytes += line.length;
  }

  /** How many bytes were taken; 0 while the pipe is full. */
  #tryWrite(bytes: Buffer): number {
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'EAGAIN') return 0;
      this.#closed = true; // EPIPE and its like: there is nobody to tell
      return bytes.length;
    }
  }
}
