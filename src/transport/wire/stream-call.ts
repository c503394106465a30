import { SvidgateError, type GrpcStatusName } from '../../core/index.ts';
import type { ServerStreamMethod, StreamMethod } from '../grpc-service.ts';
import { frameMessage, MessageReader, PREFIX_BYTES, type FramedMessage } from './message-reader.ts';
import { STREAM_WINDOW_BYTES } from './windows.ts';
import { WireCall, type IncomingCall } from './wire-call.ts';

/** Requests that wait for the handler; beyond it the caller is held back by flow control. */
const MAX_WAITING_REQUESTS = 16;
/** A message that waits, beside its bytes. */
const BYTES_BESIDE_MESSAGE = 256;

/** Any number of responses, to one request or to as many as come. */
export class StreamCall extends WireCall {
  readonly #method: StreamMethod | ServerStreamMethod;
  readonly #reader: MessageReader;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #isServed = false;
  #isSettled = false;
  #wake: (() => void) | undefined;

  constructor(incoming: IncomingCall, method: StreamMethod | ServerStreamMethod) {
    super(incoming);
    this.#method = method;
    this.#reader = new MessageReader(incoming.connection.maxMessageBytes);
  }

  override begin(): void {
    super.begin();
    if (this.#isSettled) return;
    if (this.encoding !== 'identity') {
      // What a stream sends is counted until it is taken, and compressed it would become more than was counted.
      return this.fail(new SvidgateError('invalid_request', 'compressed streams are not supported'), 'UNIMPLEMENTED');
    }
    const method = this.#method;
    if (method.kind === 'stream') void this.#serve(() => method.handle(this.#requests(), this), method.path);
  }

  override received(piece: Buffer): void {
    if (this.#isSettled) return;
    try {
      for (const message of this.#reader.take(piece)) this.#add(message, piece);
    } catch (error) {
      return this.fail(SvidgateError.from(error));
    }
    if (this.#isSettled) return;
    if (this.#waiting.length >= MAX_WAITING_REQUESTS) this.stream.pause();
    this.#count();
    this.#wake?.();
  }

  override ended(): void {
    this.hasEnded = true;
    this.#wake?.();
    const method = this.#method;
    if (method.kind === 'stream' || this.#isSettled || this.#isServed) return;
    const request = this.#waiting.shift();
    if (request === undefined || this.#reader.isWithin) {
      return this.fail(new SvidgateError('invalid_request', 'the call has no request'), 'UNIMPLEMENTED');
    }
    this.holdOnly(PREFIX_BYTES + request.length);
    void this.#serve(() => method.handle(request, this), method.path);
  }

  override fail(error: SvidgateError, status: GrpcStatusName = error.grpcStatus): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#forget();
    this.endWith({ status, message: error.message });
    this.#wake?.();
    if (this.stream.isPaused()) this.stream.resume();
  }

  override stop(reason: SvidgateError): void {
    this.cancel(reason);
    this.fail(reason);
  }

  override cancel(reason: SvidgateError): void {
    super.cancel(reason);
    this.#wake?.();
  }

  override closed(): void {
    this.#isSettled = true;
    this.#forget();
    super.closed();
  }

  #add({ flag, bytes }: FramedMessage, piece: Buffer): void {
    if (this.#isSettled) return;
    if (flag !== 0) {
      return this.fail(
        new SvidgateError('invalid_request', 'a message is marked as compressed and is not'),
        'INTERNAL',
      );
    }
    if (this.#method.kind === 'server-stream' && this.#waiting.length > 0) {
      return this.fail(new SvidgateError('invalid_request', 'the call has more than one request'), 'UNIMPLEMENTED');
    }
    this.#waiting.push(bytes);
    // A message that is all that came keeps alive what was read with it; one among many shares that.
    const keptAlive = bytes.length + PREFIX_BYTES === piece.length ? piece.buffer.byteLength : bytes.length;
    this.#waitingBytes += keptAlive + BYTES_BESIDE_MESSAGE;
  }

  #forget(): void {
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
  }

  /** A call that is held back may have filled its window, where nobody sees it. */
  #count(): void {
    const unseen = this.stream.isPaused() ? STREAM_WINDOW_BYTES : 0;
    this.holdOnly(this.#reader.heldBytes + this.#waitingBytes + unseen);
  }

  /** With backpressure. It ends when the caller half-closes or the call is over. */
  async *#requests(): AsyncGenerator<Uint8Array, void, void> {
    const { signal } = this;
    while (!signal.aborted) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        if (this.#waiting.length === 0) {
          this.#waitingBytes = 0;
          if (this.stream.isPaused()) this.stream.resume();
          this.#count();
        }
        yield next;
      } else if (this.hasEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
      }
    }
  }

  async #serve(respond: () => AsyncIterable<Uint8Array>, path: string): Promise<void> {
    this.#isServed = true;
    const { signal } = this;
    try {
      this.connection.assertServesStreams();
      this.connection.assertAccepted();
      for await (const response of respond()) await this.#send(response, signal);
      signal.throwIfAborted();
      if (this.#isSettled) return;
      this.#isSettled = true;
      this.endWith();
    } catch (error) {
      if (this.#isSettled || this.isGone) return;
      this.connection.logFailure(error, path);
      this.fail(SvidgateError.from(error));
    }
  }

  /** Waits while the caller does not read: a reader that comes back shall not get old ones. Resolves at once when aborted. */
  #send(message: Uint8Array, signal: AbortSignal): Promise<void> | undefined {
    if (signal.aborted || this.isGone) return undefined;
    if (!this.stream.headersSent) this.sendHeaders();
    return new Promise<void>((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done); // of the end of the stream, too
        resolve();
      };
      signal.addEventListener('abort', done);
      this.stream.write(frameMessage(message), done);
    });
  }
}
