/**
 * A gRPC connection with any number of calls, written byte by byte. A client on @grpc/grpc-js costs more for each
 * connection than the server that is measured, and shares the cores with it; Envoy and the clients of other languages do not.
 */
import { createConnection } from 'node:net';
import { decodeBlock, MAX_TABLE_BYTES } from '../../src/transport/any-authority/decode-block.ts';
import { HEADERS, PREFACE } from '../../src/transport/any-authority/frames.ts';
import { HeaderTable } from '../../src/transport/any-authority/header-table.ts';
import { sharedClockMs } from './measure.ts';
import {
  ACK,
  dataFrames,
  DEFAULT_WINDOW,
  END_STREAM,
  frame,
  FrameReader,
  MessageReader,
  openingFrames,
  requestHeaders,
  TYPE,
} from './wire-frames.ts';

/** One message of the server. */
export interface WireMessage {
  readonly bytes: Buffer;
  /** sharedClockMs(). */
  readonly at: number;
}

export interface WireCallStart {
  /** `/package.Service/Method` */
  readonly path: string;
  readonly request: Uint8Array;
  /** Whether the request is all that is sent; a stream of requests stays open. */
  readonly isWhole: boolean;
  readonly onMessage: (message: WireMessage) => void;
}

export interface WireConnection {
  /** Begins a call. */
  call(start: WireCallStart): WireStream;
  /** What has come so far, frames and all. */
  readonly receivedBytes: number;
  close(): void;
}

export interface WireStream {
  /** Sends another message, with all else that is sent in this turn of the event loop. */
  send(message: Uint8Array): void;
}

/** `onEnd` is told once, when the connection or one of its calls ends by itself; none of ours does. */
export function openWireConnection(path: string, onEnd: (reason: string) => void): WireConnection {
  return new Connection(path, onEnd);
}

class Connection implements WireConnection {
  readonly #socket;
  readonly #reader = new FrameReader();
  /** By the number of the stream: 1, 3, 5, … */
  readonly #calls: { readonly messages: MessageReader; readonly onMessage: WireCallStart['onMessage'] }[] = [];
  readonly #onEnd: (reason: string) => void;
  #ended = false;
  #received = 0;
  /** What the server lets us send; it keeps to the protocol, and so must we. */
  #window = DEFAULT_WINDOW;
  #outgoing: Buffer[] = [];
  /** Of all calls, in their order. */
  readonly #headers: Buffer[] = [];
  #isLeaving = false;

  constructor(path: string, onEnd: (reason: string) => void) {
    this.#onEnd = onEnd;
    this.#socket = createConnection(path);
    this.#socket.on('error', (error) => this.#end(error.message));
    this.#socket.on('close', () => this.#end('the connection was closed'));
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk, sharedClockMs()));
    this.#send([PREFACE, ...openingFrames()]);
  }

  get receivedBytes(): number {
    return this.#received;
  }

  call({ path, request, isWhole, onMessage }: WireCallStart): WireStream {
    const streamId = 2 * this.#calls.length + 1;
    this.#calls.push({ messages: new MessageReader(), onMessage });
    this.#send([requestHeaders(path, streamId), ...dataFrames(request, streamId, isWhole)]);
    return { send: (message) => this.#send(dataFrames(message, streamId, false)) };
  }

  close(): void {
    this.#ended = true;
    this.#socket.destroy();
  }

  #read(chunk: Buffer, at: number): void {
    this.#received += chunk.length;
    for (const { type, flags, streamId, payload } of this.#reader.take(chunk)) {
      switch (type) {
        case TYPE.data: {
          const call = this.#calls[(streamId - 1) / 2];
          if (call !== undefined) for (const bytes of call.messages.take(payload)) call.onMessage({ bytes, at });
          break;
        }
        case TYPE.settings:
          if ((flags & ACK) === 0) this.#socket.write(frame(TYPE.settings, { flags: ACK }));
          break;
        case TYPE.ping:
          if ((flags & ACK) === 0) this.#socket.write(frame(TYPE.ping, { flags: ACK, payload }));
          break;
        case TYPE.windowUpdate:
          if (streamId === 0) this.#widen(payload.readUInt32BE(0));
          break;
        case TYPE.goAway:
        case TYPE.rstStream:
          return this.#end(`frame ${type}: ${payload.toString('hex')}`);
        case HEADERS:
          this.#headers.push(payload);
          if ((flags & END_STREAM) !== 0) return this.#end(`the server ended a call: ${statusIn(this.#headers)}`);
      }
    }
  }

  /** After what has arrived was read: to acknowledge a message must not delay the time of the next. */
  #send(frames: readonly Buffer[]): void {
    this.#outgoing.push(...frames);
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    setImmediate(() => {
      this.#isLeaving = false;
      this.#flush();
    });
  }

  #widen(by: number): void {
    this.#window += by;
    this.#flush();
  }

  #flush(): void {
    if (this.#ended || this.#outgoing.length === 0) return;
    let count = 0;
    for (const one of this.#outgoing) {
      const counted = one[3] === TYPE.data ? one.readUIntBE(0, 3) : 0;
      if (counted > this.#window) break;
      this.#window -= counted;
      count += 1;
    }
    const leaving = this.#outgoing.splice(0, count);
    if (leaving.length > 0) this.#socket.write(Buffer.concat(leaving));
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.close();
    this.#onEnd(reason);
  }
}

/** The status that the last of these header blocks brought: nobody decodes them before one ends a call. */
function statusIn(blocks: readonly Buffer[]): string {
  const table = new HeaderTable(MAX_TABLE_BYTES);
  const fields = blocks.map((block) => decodeBlock(block, table)).at(-1) ?? [];
  const valueOf = (name: string): string => fields.find((field) => field.name === name)?.value ?? '';
  return `${valueOf('grpc-status')} ${decodeURIComponent(valueOf('grpc-message'))}`;
}
