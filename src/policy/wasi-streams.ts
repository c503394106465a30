import { Buffer } from 'node:buffer';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
/** WASI preview 1 errno values. */
const SUCCESS = 0;
const ERRNO_BADF = 8;
/** What is kept of standard error: a panic's first lines. */
const STDERR_LIMIT_BYTES = 64 * 1024;
/** Size of an iovec: address and length, 32 bits each. */
const IOVEC_BYTES = 8;

/** Standard input, output and error of a WASI program in memory: no descriptor of this process is ever used. */
export interface StandardStreams {
  /** Replacements for the functions of wasi_snapshot_preview1 that read and write. */
  readonly imports: Readonly<Record<string, (...args: number[]) => number>>;
  /** Gives the program's memory; before it starts. */
  attach(memory: WebAssembly.Memory): void;
  stdout(): Uint8Array;
  /** At most 64 KiB of it. */
  stderr(): string;
}

/** `stdin` is read once from its start; writing more than `limitBytes` to standard output ends the program. */
export function createStandardStreams(stdin: Uint8Array, limitBytes: number): StandardStreams {
  const written = { stdout: [] as Uint8Array[], stdoutBytes: 0, stderr: [] as Uint8Array[], stderrBytes: 0 };
  let memory: WebAssembly.Memory | undefined;
  let position = 0;

  const write = (descriptor: number, bytes: Uint8Array): void => {
    if (descriptor === STDOUT) {
      written.stdoutBytes += bytes.byteLength;
      if (written.stdoutBytes > limitBytes) throw new Error(`the output is larger than ${limitBytes} bytes`);
      written.stdout.push(bytes.slice());
    } else if (written.stderrBytes < STDERR_LIMIT_BYTES) {
      const kept = bytes.slice(0, STDERR_LIMIT_BYTES - written.stderrBytes);
      written.stderrBytes += kept.byteLength;
      written.stderr.push(kept);
    }
  };
  /** Calls back for each buffer of a scattered read or write, and stores the sum of what they moved. */
  const forEachBuffer = (vector: IoVector, move: (buffer: Uint8Array) => number): number => {
    if (memory === undefined) return ERRNO_BADF;
    const view = new DataView(memory.buffer);
    let total = 0;
    for (let at = vector.address; at < vector.address + vector.count * IOVEC_BYTES; at += IOVEC_BYTES) {
      total += move(new Uint8Array(memory.buffer, view.getUint32(at, true), view.getUint32(at + 4, true)));
    }
    view.setUint32(vector.resultAddress, total, true);
    return SUCCESS;
  };

  const fdRead = (...[descriptor = -1, address = 0, count = 0, resultAddress = 0]: number[]): number => {
    if (descriptor !== STDIN) return ERRNO_BADF;
    return forEachBuffer({ address, count, resultAddress }, (buffer) => {
      const part = stdin.subarray(position, position + buffer.byteLength);
      buffer.set(part);
      position += part.byteLength;
      return part.byteLength;
    });
  };
  const fdWrite = (...[descriptor = -1, address = 0, count = 0, resultAddress = 0]: number[]): number => {
    if (descriptor !== STDOUT && descriptor !== STDERR) return ERRNO_BADF;
    return forEachBuffer({ address, count, resultAddress }, (buffer) => {
      write(descriptor, buffer);
      return buffer.byteLength;
    });
  };
  return {
    imports: { fd_read: fdRead, fd_write: fdWrite },
    attach: (programMemory) => (memory = programMemory),
    stdout: () => Buffer.concat(written.stdout),
    stderr: () => Buffer.concat(written.stderr).toString('utf8'),
  };
}

interface IoVector {
  readonly address: number;
  readonly count: number;
  readonly resultAddress: number;
}
