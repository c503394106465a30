import { SvidgateError } from '../../core/index.ts';

export const PREFIX_BYTES = 5;

/** A message as it stands on the wire. */
export interface FramedMessage {
  /** 0, or 1 for compressed; anything else is no gRPC. */
  readonly flag: number;
  readonly bytes: Buffer;
}

/** Cuts what arrives into messages, wherever its pieces begin and end. Holds at most one message that is not complete. */
export class MessageReader {
  readonly #maxBytes: number;
  readonly #prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  #prefixBytes = 0;
  /** Of the message that is not complete: room for what has come, and at most as much again. */
  #room: Buffer = EMPTY;
  #filled = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether a message has begun and not ended. */
  get isWithin(): boolean {
    return this.#prefixBytes > 0;
  }

  /** What the message that is not complete holds. */
  get heldBytes(): number {
    return this.#room.length;
  }

  /** The messages that are complete now; they may share memory with the piece. Throws `too_large` by the prefix alone. */
  take(piece: Buffer): readonly FramedMessage[] {
    const messages: FramedMessage[] = [];
    let at = 0;
    while (at < piece.length) {
      if (this.#prefixBytes < PREFIX_BYTES) at += this.#takePrefix(piece, at);
      if (this.#prefixBytes < PREFIX_BYTES) break;
      const size = sizeIn(this.#prefix, this.#maxBytes);
      const count = Math.min(size - this.#filled, piece.length - at);
      const part = piece.subarray(at, at + count);
      at += count;
      if (this.#filled + count < size) {
        this.#keep(part, size);
        break;
      }
      messages.push({ flag: this.#prefix[0] ?? 0, bytes: this.#complete(part, size) });
    }
    return messages;
  }

  #takePrefix(piece: Buffer, at: number): number {
    const count = Math.min(PREFIX_BYTES - this.#prefixBytes, piece.length - at);
    piece.copy(this.#prefix, this.#prefixBytes, at, at + count);
    this.#prefixBytes += count;
    if (this.#prefixBytes === PREFIX_BYTES) sizeIn(this.#prefix, this.#maxBytes);
    return count;
  }

  /** Copied, so that a message of many small pieces does not keep alive all that was read with them. */
  #keep(part: Buffer, size: number): void {
    const needed = this.#filled + part.length;
    if (needed > this.#room.length) {
      const room = Buffer.allocUnsafeSlow(Math.min(size, Math.max(2 * needed, LEAST_ROOM)));
      this.#room.copy(room, 0, 0, this.#filled);
      this.#room = room;
    }
    part.copy(this.#room, this.#filled);
    this.#filled = needed;
  }

  #complete(part: Buffer, size: number): Buffer {
    let message = part;
    if (this.#filled > 0) {
      this.#keep(part, size);
      message = this.#room.subarray(0, size);
    }
    this.#room = EMPTY;
    this.#filled = 0;
    this.#prefixBytes = 0;
    return message;
  }
}

const EMPTY = Buffer.alloc(0);
const LEAST_ROOM = 1024;

/** Throws `too_large`. */
export function sizeIn(prefix: Buffer, maxBytes: number): number {
  const size = prefix.readUInt32BE(1);
  if (size <= maxBytes) return size;
  throw new SvidgateError('too_large', `a message of ${size} bytes is larger than the limit of ${maxBytes}`);
}

/** A message with its prefix. */
export function frameMessage(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}
