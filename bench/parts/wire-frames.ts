/** HTTP/2 frames and gRPC messages as a client of a benchmark writes and reads them: no more than it needs. */
import { encodeBlock } from '../../src/transport/any-authority/encode-block.ts';
import { FRAME_HEADER_BYTES, readFrameHeader, writeHeaderFrames } from '../../src/transport/any-authority/frames.ts';

export const END_STREAM = 0x1;
export const ACK = 0x1;
export const DEFAULT_WINDOW = 65_535;
export const TYPE = { data: 0x0, rstStream: 0x3, settings: 0x4, ping: 0x6, goAway: 0x7, windowUpdate: 0x8 } as const;

const LARGEST_WINDOW = 2 ** 31 - 1;
const INITIAL_WINDOW_SIZE = 4;
const GRPC_PREFIX_BYTES = 5;
const MAX_FRAME_BYTES = 16_384;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  { flags = 0, streamId = 0, payload = Buffer.alloc(0) }: { flags?: number; streamId?: number; payload?: Buffer },
): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** Room for all that comes: the client holds nothing back. */
export function openingFrames(): readonly Buffer[] {
  const setting = Buffer.alloc(6);
  setting.writeUInt16BE(INITIAL_WINDOW_SIZE);
  setting.writeUInt32BE(LARGEST_WINDOW, 2);
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(LARGEST_WINDOW - DEFAULT_WINDOW);
  return [frame(TYPE.settings, { payload: setting }), frame(TYPE.windowUpdate, { payload: increment })];
}

/** Of a call of `/package.Service/Method`. */
export function requestHeaders(path: string, streamId: number): Buffer {
  const block = encodeBlock([
    { name: ':method', value: 'POST' },
    { name: ':scheme', value: 'http' },
    { name: ':path', value: path },
    { name: ':authority', value: 'localhost' },
    { name: 'content-type', value: 'application/grpc' },
    { name: 'te', value: 'trailers' },
    { name: 'workload.spiffe.io', value: 'true' },
  ]);
  return Buffer.concat(writeHeaderFrames({ flags: 0, streamId }, Buffer.alloc(0), block));
}

/** Frames of one message of at most a few 100 KiB, each no larger than every server takes. */
export function dataFrames(message: Uint8Array, streamId: number, isLast: boolean): readonly Buffer[] {
  const prefix = Buffer.alloc(GRPC_PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  const content = Buffer.concat([prefix, message]);
  const frames: Buffer[] = [];
  for (let at = 0; at < content.length; at += MAX_FRAME_BYTES) {
    const payload = content.subarray(at, at + MAX_FRAME_BYTES);
    const flags = isLast && at + MAX_FRAME_BYTES >= content.length ? END_STREAM : 0;
    frames.push(frame(TYPE.data, { flags, streamId, payload }));
  }
  return frames;
}

/** Pieces of which the first ones are taken off when they are there as a whole. */
class Pieces {
  #held: Buffer[] = [];
  #bytes = 0;
  #needed = 0;

  add(piece: Buffer): void {
    this.#held.push(piece);
    this.#bytes += piece.length;
  }

  /** All that is held in one piece, or undefined while it is less than `needed` said last. */
  whole(): Buffer | undefined {
    if (this.#bytes < this.#needed) return undefined;
    const [only] = this.#held;
    return this.#held.length === 1 ? only : Buffer.concat(this.#held);
  }

  keep(rest: Buffer, needed: number): void {
    this.#held = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
    this.#needed = needed;
  }
}

export class FrameReader {
  readonly #pieces = new Pieces();

  take(chunk: Buffer): readonly Frame[] {
    this.#pieces.add(chunk);
    const bytes = this.#pieces.whole();
    if (bytes === undefined) return [];
    const frames: Frame[] = [];
    let at = 0;
    let needed = FRAME_HEADER_BYTES;
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      const { length, type, flags, streamId } = readFrameHeader(bytes, at);
      needed = FRAME_HEADER_BYTES + length;
      if (bytes.length - at < needed) break;
      frames.push({ type, flags, streamId, payload: bytes.subarray(at + FRAME_HEADER_BYTES, at + needed) });
      at += needed;
      needed = FRAME_HEADER_BYTES;
    }
    this.#pieces.keep(bytes.subarray(at), needed);
    return frames;
  }
}

/** gRPC messages, without compression. */
export class MessageReader {
  readonly #pieces = new Pieces();

  take(payload: Buffer): readonly Buffer[] {
    this.#pieces.add(payload);
    const bytes = this.#pieces.whole();
    if (bytes === undefined) return [];
    const messages: Buffer[] = [];
    let at = 0;
    let needed = GRPC_PREFIX_BYTES;
    while (bytes.length - at >= GRPC_PREFIX_BYTES) {
      needed = GRPC_PREFIX_BYTES + bytes.readUInt32BE(at + 1);
      if (bytes.length - at < needed) break;
      messages.push(bytes.subarray(at + GRPC_PREFIX_BYTES, at + needed));
      at += needed;
      needed = GRPC_PREFIX_BYTES;
    }
    this.#pieces.keep(bytes.subarray(at), needed);
    return messages;
  }
}
