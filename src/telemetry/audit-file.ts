import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

export interface AuditFileOptions {
  readonly file: string;
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/** O_NONBLOCK: a named pipe that nobody reads must fail here, and not hold the process. Read for the last byte alone. */
const FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const NEWLINE = 0x0a;

/** A file of whole lines that is rotated by size, and made anew when somebody has moved it away. All calls throw what failed. */
export class AuditFile {
  readonly #options: AuditFileOptions;
  #fd: number | undefined;
  #isClosed = false;

  constructor(options: AuditFileOptions) {
    this.#options = options;
  }

  /** Opens the file, or makes it with mode 0600; one that is there keeps its mode. Does nothing when it is open. */
  open(): void {
    if (this.#isClosed) throw new Error('it is closed');
    if (this.#fd !== undefined) return;
    const { file } = this.#options;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const fd = openSync(file, FLAGS, 0o600);
    try {
      const { size } = statOfRegularFile(fd);
      // Half a line is what a power cut leaves; the next one must not become part of it.
      if (size > 0 && byteAt(fd, size - 1) !== NEWLINE) writeSync(fd, '\n');
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.#fd = fd;
  }

  /**
   * Appends one line, whole or not at all. Gives what kept the file from being rotated: then the line is in the file, which
   * is larger than it should be.
   */
  append(line: string): unknown {
    const bytes = Buffer.from(line);
    const problem = this.#rotateFor(bytes.length);
    this.open();
    try {
      if (this.#fd !== undefined) writeWhole(this.#fd, bytes);
    } catch (error) {
      this.#letGo(); // opening it anew also ends what could not be taken back
      throw error;
    }
    return problem;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const fd = this.#fd;
    if (fd === undefined) return;
    this.#fd = undefined;
    try {
      await promisify(fsync)(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Also lets go of a file that is no longer the one of that name. */
  #rotateFor(bytes: number): unknown {
    if (this.#fd === undefined) return undefined;
    const { file, maxBytes } = this.#options;
    const named = lstatSync(file, { throwIfNoEntry: false });
    const own = fstatSync(this.#fd);
    if (named?.ino !== own.ino || named.dev !== own.dev) {
      this.#letGo();
      return undefined;
    }
    if (own.size === 0 || own.size + bytes <= maxBytes) return undefined;
    try {
      this.#shift();
      this.#letGo();
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** FILE to FILE.1, FILE.1 to FILE.2 and so on, up to the first number that is free. */
  #shift(): void {
    const { file, maxFiles } = this.#options;
    const nameOf = (number: number): string => (number === 0 ? file : `${file}.${number}`);
    let free = 1;
    while (free < maxFiles && existsSync(nameOf(free))) free += 1;
    for (let number = free; number > 0; number -= 1) renameSync(nameOf(number - 1), nameOf(number));
  }

  #letGo(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }
}

function statOfRegularFile(fd: number): { readonly size: number } {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new Error('it is not a regular file');
  return stat;
}

function byteAt(fd: number, position: number): number | undefined {
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, position);
  return byte[0];
}

/** A disk that is full takes a part of a line; that part is taken back. */
function writeWhole(fd: number, bytes: Buffer): void {
  const before = fstatSync(fd).size;
  try {
    for (let written = 0; written < bytes.length;) written += writeSync(fd, bytes, written);
  } catch (error) {
    try {
      ftruncateSync(fd, before);
    } catch {
      // The first error tells more.
    }
    throw error;
  }
}
