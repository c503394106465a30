import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { RequestBytes } from './request-bytes.ts';

/**
 * The connection as Node's HTTP/2 shall see it: any `:authority` of a client, also a path, a name with `|` or `/`, an empty
 * or missing one, becomes one that Node does not refuse; all else is as it was sent. Docs: docs/decisions/0006.
 */
export class AnyAuthorityStream extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    const bytes = new RequestBytes();
    socket.on('data', (chunk: Buffer) => {
      for (const part of bytes.take(chunk)) if (!this.push(part)) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
    socket.pause();
    this.on('error', () => undefined); // told by the socket, too
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  /** What HTTP/2 writes in one turn leaves in one system call. */
  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#socket.cork();
    for (const [index, { chunk }] of chunks.entries()) {
      if (index < chunks.length - 1) this.#socket.write(chunk);
      else this.#socket.write(chunk, done);
    }
    this.#socket.uncork();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
