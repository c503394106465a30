import { SvidgateError, type GrpcStatusName } from '../../core/index.ts';
import type { UnaryMethod } from '../grpc-service.ts';
import { decompress } from './decompress.ts';
import { frameMessage, MessageReader, PREFIX_BYTES, sizeIn } from './message-reader.ts';
import { WireCall, type IncomingCall } from './wire-call.ts';

/** One request, one response, or what `onFault` answers. */
export class UnaryCall extends WireCall {
  readonly #method: UnaryMethod;
  #flag = 0;
  #message: Buffer | undefined;
  /** Only where a message does not come in one piece. */
  #reader: MessageReader | undefined;
  #isHandled = false;
  #isAnswered = false;

  constructor(incoming: IncomingCall, method: UnaryMethod) {
    super(incoming);
    this.#method = method;
  }

  override received(piece: Buffer): void {
    if (this.#isAnswered || this.#isHandled) return;
    try {
      if (this.#message === undefined && this.#reader === undefined && this.#isWhole(piece)) {
        this.hold(piece.buffer.byteLength);
        this.#flag = piece[0] ?? 0;
        this.#message = piece.subarray(PREFIX_BYTES);
      } else this.#gather(piece);
    } catch (error) {
      this.fail(SvidgateError.from(error));
    }
  }

  override ended(): void {
    this.hasEnded = true;
    if (this.#isAnswered) return;
    const message = this.#message;
    if (message === undefined || this.#reader?.isWithin === true) {
      return this.fail(new SvidgateError('invalid_request', 'the call has no request'), 'UNIMPLEMENTED');
    }
    this.#isHandled = true;
    this.holdOnly(PREFIX_BYTES + message.length);
    if (this.#flag === 0) this.#handle(message);
    else this.#decompress(message);
  }

  override fail(error: SvidgateError, status: GrpcStatusName = error.grpcStatus): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    const reply = this.#method.onFault?.(error);
    if (reply === undefined) this.endWith({ status, message: error.message });
    else this.#send(reply);
  }

  #isWhole(piece: Buffer): boolean {
    return (
      piece.length >= PREFIX_BYTES && piece.length === PREFIX_BYTES + sizeIn(piece, this.connection.maxMessageBytes)
    );
  }

  #gather(piece: Buffer): void {
    const reader = (this.#reader ??= new MessageReader(this.connection.maxMessageBytes));
    for (const { flag, bytes } of reader.take(piece)) {
      if (this.#message !== undefined) {
        return this.fail(new SvidgateError('invalid_request', 'the call has more than one request'), 'UNIMPLEMENTED');
      }
      this.#flag = flag;
      this.#message = bytes;
    }
    // The piece is copied where it is no whole message, and else keeps alive all that was read with it.
    this.holdOnly(reader.heldBytes + (this.#message?.buffer.byteLength ?? 0));
  }

  #handle(request: Uint8Array): void {
    try {
      this.connection.assertAccepted();
      this.#method.handle(request, this).then(
        (reply) => this.#answer(reply),
        (error: unknown) => this.#failWith(error),
      );
    } catch (error) {
      this.#failWith(error);
    }
  }

  #decompress(message: Buffer): void {
    const { encoding } = this;
    if (this.#flag !== 1 || encoding === 'identity') {
      return this.fail(
        new SvidgateError('invalid_request', 'a message is marked as compressed and is not'),
        'INTERNAL',
      );
    }
    const { maxMessageBytes } = this.connection;
    const plain = decompress(message, encoding, maxMessageBytes);
    if (plain === undefined) {
      return this.fail(new SvidgateError('invalid_request', 'a compression that is not supported'), 'UNIMPLEMENTED');
    }
    this.holdOnly(message.length + maxMessageBytes);
    void this.#handleWhenPlain(plain);
  }

  async #handleWhenPlain(plain: Promise<Buffer>): Promise<void> {
    try {
      const request = await plain;
      if (this.#isAnswered || this.isGone) return;
      this.holdOnly(request.length);
      this.#handle(request);
    } catch (caught) {
      const error = SvidgateError.from(caught);
      this.fail(error, error.code === 'too_large' ? 'RESOURCE_EXHAUSTED' : 'INTERNAL');
    }
  }

  #failWith(caught: unknown): void {
    if (this.#isAnswered) return;
    this.connection.logFailure(caught, this.#method.path);
    this.fail(SvidgateError.from(caught));
  }

  #answer(reply: Uint8Array): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#send(reply);
  }

  #send(reply: Uint8Array): void {
    this.settle();
    if (this.answerDelayMs === 0) this.#write(reply);
    else setTimeout(() => this.#write(reply), this.answerDelayMs);
  }

  #write(reply: Uint8Array): void {
    this.holdOnly(PREFIX_BYTES + reply.length);
    if (this.isGone) return;
    this.sendHeaders();
    this.stream.end(frameMessage(reply));
  }
}
