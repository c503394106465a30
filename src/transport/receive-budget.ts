import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { status, type Metadata, type ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import type { Logger } from '../core/index.ts';
import { BYTES_OF_CALL, HeldTotal, type Holder } from './held-total.ts';

/** What callers have sent and handlers have not taken, and the calls they keep open. */
export interface ReceiveBudget {
  /** To be told of each connection before its first call; `key` is what grpc-js says of a call's peer. */
  addConnection(key: string, socket: Duplex, owner: string): void;
  /** Counts what arrives for each call. It must see grpc-js's own call object. */
  readonly interceptor: ServerInterceptor;
  /** The handler of a stream took a message of so many bytes. */
  taken(call: Metadata, bytes: number): void;
}

interface BudgetOptions {
  /** Of the listener, for the log. */
  readonly name: string;
  readonly maxBytes: number;
  readonly logger: Logger;
}

/** A chunk of a message that is not complete keeps the whole piece alive that was read from the socket. */
const BYTES_BESIDE_CHUNK = 256;

/**
 * Messages are gathered before any handler sees them, for as many calls as a caller opens. Beyond `maxBytes` for all
 * callers together, the largest connection of the caller that holds most is closed: whoever sends messages and ends them holds next to nothing.
 */
export function createReceiveBudget(options: BudgetOptions): ReceiveBudget {
  const connections = new Map<string, Holder>();
  const calls = new WeakMap<Metadata, HeldByCall>();
  const total = new HeldTotal(options);
  return {
    addConnection(key, socket, owner) {
      const connection: Holder = { owner, held: 0, destroy: () => void socket.destroy() };
      connections.set(key, connection);
      total.add(connection);
      socket.once('close', () => {
        connections.delete(key);
        total.remove(connection);
      });
    },
    interceptor(definition, call) {
      const own = call as unknown as GrpcJsCall;
      const key = connectionKeyOf(own);
      own.getPeer = () => key;
      const connection = connections.get(key);
      if (connection === undefined) return own;
      const held = new HeldByCall((bytes) => total.change(connection, bytes));
      own.stream.on('data', (chunk: Buffer) => held.received(chunk));
      if (!definition.requestStream) own.stream.once('end', () => held.complete());
      own.stream.once('close', () => held.release());
      const start = own.start.bind(own);
      own.start = (listener) => {
        start({
          ...bound(listener),
          onReceiveMetadata(metadata) {
            calls.set(metadata, held);
            listener.onReceiveMetadata(metadata);
          },
        });
      };
      if (definition.requestStream && own.incomingEncoding !== 'identity') refuseCompression(own);
      return own; // itself: the next interceptor needs it, too
    },
    taken: (call, bytes) => calls.get(call)?.taken(bytes),
  };
}

function bound(listener: InterceptingServerListener): InterceptingServerListener {
  return {
    onReceiveMetadata: (metadata) => listener.onReceiveMetadata(metadata),
    onReceiveMessage: (message) => listener.onReceiveMessage(message),
    onReceiveHalfClose: () => listener.onReceiveHalfClose(),
    onCancel: () => listener.onCancel(),
  };
}

/** What a stream sends is counted until it is taken, and compressed it would become more than was counted. */
function refuseCompression(call: GrpcJsCall): void {
  call.start = () => call.sendStatus({ code: status.UNIMPLEMENTED, details: 'compressed streams are not supported' });
}

/**
 * grpc-js tells a call's connection by the remote address of its socket. Where a stream of ours stands between the socket
 * and Node's HTTP/2, Node puts a socket of its own around that, which has it as `stream`.
 */
function connectionKeyOf({ stream }: GrpcJsCall): string {
  const socket = stream.session?.socket as
    (Partial<Pick<Socket, 'remoteAddress'>> & { readonly stream?: Partial<Pick<Socket, 'remoteAddress'>> }) | undefined;
  return socket?.remoteAddress ?? socket?.stream?.remoteAddress ?? 'unknown';
}

/** What grpc-js 1.14 keeps in a call; it has no public way to bytes that are no message yet. */
type GrpcJsCall = ServerInterceptingCall & {
  getPeer: () => string;
  readonly stream: ServerHttp2Stream;
  readonly incomingEncoding: string;
};

const MESSAGE_PREFIX_BYTES = 5;

type InterceptingServerListener = Parameters<ServerInterceptingCall['start']>[0];

class HeldByCall {
  readonly #change: (bytes: number) => void;
  #held = 0;
  #received = 0;
  #taken = 0;

  constructor(change: (bytes: number) => void) {
    this.#change = change;
    this.#set(BYTES_OF_CALL);
  }

  received(chunk: Buffer): void {
    this.#received += chunk.length;
    this.#set(this.#held + chunk.buffer.byteLength + BYTES_BESIDE_CHUNK);
  }

  taken(bytes: number): void {
    this.#taken += bytes + MESSAGE_PREFIX_BYTES;
    if (this.#taken === this.#received) this.#set(BYTES_OF_CALL);
  }

  /** All that a unary call sends is there, in one piece. */
  complete(): void {
    this.#set(Math.min(this.#held, BYTES_OF_CALL + this.#received));
  }

  release(): void {
    this.#set(0);
  }

  #set(held: number): void {
    const change = held - this.#held;
    this.#held = held;
    this.#change(change);
  }
}
