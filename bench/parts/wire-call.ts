/**
 * A gRPC call on a connection of its own, written byte by byte. A client on @grpc/grpc-js costs more for each connection
 * than the server that is measured, and shares the cores with it; Envoy and the clients of other languages do not.
 */
import { createConnection } from 'node:net';
import { encodeBlock } from '../../src/transport/any-authority/encode-block.ts';
import {
  FRAME_HEADER_BYTES,
  HEADERS,
  PREFACE,
  readFrameHeader,
  writeHeaderFrames,
} from '../../src/transport/any-authority/frames.ts';
import { sharedClockMs } from './measure.ts';

/** One message of the server. */
export interface WireMessage {
  readonly bytes: Buffer;
  /** sharedClockMs(). */
  readonly at: number;
}

export interface WireCallOptions {
  /** Path of the Unix socket. */
  readonly socket: string;
  /** `/package.Service/Method` */
  readonly path: string;
  readonly request: Uint8Array;
  /** Whether the request is all that is sent; a stream of requests stays open. */
  readonly isWhole: boolean;
  readonly onMessage: (message: WireMessage) => void;
  /** Told once, when the call ends by itself; none of ours does. */
  readonly onEnd: (reason: string) => void;
}

export interface WireCall {
  /** Sends another message. */
  send(message: Uint8Array): void;
  close(): void;
}

const STREAM_ID = 1;
const END_STREAM = 0x1;
const ACK = 0x1;
const LARGEST_WINDOW = 2 ** 31 - 1;
const DEFAULT_WINDOW = 65_535;
const TYPE = { data: 0x0, rstStream: 0x3, settings: 0x4, ping: 0x6, goAway: 0x7, windowUpdate: 0x8 } as const;
const INITIAL_WINDOW_SIZE = 4;
const GRPC_PREFIX_BYTES = 5;

/** Begins the call at once. */
export function openWireCall(options: WireCallOptions): WireCall {
  const socket = createConnection(options.socket);
  const reader = new FrameReader();
  const messages = new MessageReader();
  let ended = false;
  const end = (reason: string): void => {
    if (ended) return;
    ended = true;
    socket.destroy();
    options.onEnd(reason);
  };
  socket.on('error', (error) => end(error.message));
  socket.on('close', () => end('the connection was closed'));
  socket.on('data', (chunk: Buffer) => {
    const at = sharedClockMs();
    for (const { type, flags, payload } of reader.take(chunk)) {
      if (type === TYPE.data) for (const bytes of messages.take(payload)) options.onMessage({ bytes, at });
      else if (type === TYPE.settings && (flags & ACK) === 0) socket.write(frame(TYPE.settings, { flags: ACK }));
      else if (type === TYPE.ping && (flags & ACK) === 0) socket.write(frame(TYPE.ping, { flags: ACK, payload }));
      else if (type === TYPE.goAway || type === TYPE.rstStream) return end(`frame ${type}: ${payload.toString('hex')}`);
      else if (type === HEADERS && (flags & END_STREAM) !== 0) return end('the server ended the call');
    }
  });
  socket.write(
    Buffer.concat([
      PREFACE,
      ...openingFrames(),
      requestHeaders(options.path),
      dataFrame(options.request, options.isWhole),
    ]),
  );
  return {
    send: (message) => void socket.write(dataFrame(message, false)),
    close: () => {
      ended = true;
      socket.destroy();
    },
  };
}

/** Room for all that comes: the client holds nothing back. */
function openingFrames(): readonly Buffer[] {
  const setting = Buffer.alloc(6);
  setting.writeUInt16BE(INITIAL_WINDOW_SIZE);
  setting.writeUInt32BE(LARGEST_WINDOW, 2);
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(LARGEST_WINDOW - DEFAULT_WINDOW);
  return [frame(TYPE.settings, { payload: setting }), frame(TYPE.windowUpdate, { payload: increment })];
}

function requestHeaders(path: string): Buffer {
  const block = encodeBlock([
    { name: ':method', value: 'POST' },
    { name: ':scheme', value: 'http' },
    { name: ':path', value: path },
    { name: ':authority', value: 'localhost' },
    { name: 'content-type', value: 'application/grpc' },
    { name: 'te', value: 'trailers' },
    { name: 'workload.spiffe.io', value: 'true' },
  ]);
  return Buffer.concat(writeHeaderFrames({ flags: 0, streamId: STREAM_ID }, Buffer.alloc(0), block));
}

/** Frames of one message of at most a few 100 KiB, each no larger than every server takes. */
function dataFrame(message: Uint8Array, isLast: boolean): Buffer {
  const prefix = Buffer.alloc(GRPC_PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  const content = Buffer.concat([prefix, message]);
  const frames: Buffer[] = [];
  for (let at = 0; at < content.length; at += MAX_FRAME_BYTES) {
    const payload = content.subarray(at, at + MAX_FRAME_BYTES);
    const flags = isLast && at + MAX_FRAME_BYTES >= content.length ? END_STREAM : 0;
    frames.push(frame(TYPE.data, { flags, streamId: STREAM_ID, payload }));
  }
  return Buffer.concat(frames);
}

const MAX_FRAME_BYTES = 16_384;

function frame(
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

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly payload: Buffer;
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
    this.#held = [rest];
    this.#bytes = rest.length;
    this.#needed = needed;
  }
}

class FrameReader {
  readonly #pieces = new Pieces();

  take(chunk: Buffer): readonly Frame[] {
    this.#pieces.add(chunk);
    const bytes = this.#pieces.whole();
    if (bytes === undefined) return [];
    const frames: Frame[] = [];
    let at = 0;
    let needed = FRAME_HEADER_BYTES;
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      const { length, type, flags } = readFrameHeader(bytes, at);
      needed = FRAME_HEADER_BYTES + length;
      if (bytes.length - at < needed) break;
      frames.push({ type, flags, payload: bytes.subarray(at + FRAME_HEADER_BYTES, at + needed) });
      at += needed;
      needed = FRAME_HEADER_BYTES;
    }
    this.#pieces.keep(bytes.subarray(at), needed);
    return frames;
  }
}

/** gRPC messages, without compression. */
class MessageReader {
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
