import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { SvidgateError, type GrpcStatusName } from '../../core/index.ts';
import type { CallContext } from '../grpc-service.ts';
import { BYTES_OF_CALL } from '../held-total.ts';
import type { Peer } from '../peer.ts';
import {
  BEFORE_TRAILERS,
  closeSoon,
  OK_TRAILERS,
  RESPONSE_HEADERS,
  respondTrailersOnly,
  trailersOf,
  type GrpcFailure,
} from './grpc-status.ts';
import { parseGrpcTimeout } from './grpc-timeout.ts';
import type { WireConnection } from './wire-connection.ts';

export interface IncomingCall {
  readonly connection: WireConnection;
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  /** Of names and values. */
  readonly headerBytes: number;
}

/** One for all: an error of its own for each call would cost more than the rest of its end. */
const ENDED = new SvidgateError('canceled', 'the call has ended');
const CANCELED = new SvidgateError('canceled', 'the caller canceled the call');
const EXPIRED = new SvidgateError('deadline_exceeded', 'the deadline of the call has passed');

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** One call on its stream, which is what its handler knows of it, too: nothing else is made for a call. */
export abstract class WireCall implements CallContext {
  readonly deadline: number | undefined;
  readonly connection: WireConnection;
  /** How long an answer waits; 0 but for one call of a connection that is about to be left. */
  answerDelayMs = 0;
  protected readonly stream: ServerHttp2Stream;
  /** Whether the caller has sent all that it will. */
  protected hasEnded = false;
  readonly #headers: IncomingHttpHeaders;
  #timer: NodeJS.Timeout | undefined;
  #cancel: AbortController | undefined;
  #reason: SvidgateError | undefined;
  /** What it holds without a message. */
  readonly #ownBytes: number;
  #held = 0;
  #isClosed = false;
  #trailers: Record<string, string> = OK_TRAILERS;

  constructor({ connection, stream, headers, headerBytes }: IncomingCall) {
    this.connection = connection;
    this.stream = stream;
    this.#headers = headers;
    this.#ownBytes = BYTES_OF_CALL + headerBytes;
    this.hold(this.#ownBytes);
    const timeout = headers['grpc-timeout'];
    if (timeout === undefined) return;
    const timeoutMs = parseGrpcTimeout(String(timeout));
    if (timeoutMs === undefined) return;
    this.deadline = Date.now() + Math.floor(timeoutMs);
    if (timeoutMs > LONGEST_TIMER_MS) return;
    this.#timer = setTimeout(expire, timeoutMs, this);
  }

  get peer(): Peer {
    return this.connection.peer;
  }

  /** Made when somebody asks for it. */
  get signal(): AbortSignal {
    if (this.#cancel === undefined) {
      this.#cancel = new AbortController();
      if (this.#reason !== undefined) this.#cancel.abort(this.#reason);
    }
    return this.#cancel.signal;
  }

  header(name: string): readonly string[] {
    const value = this.#headers[name];
    if (value === undefined) return [];
    return typeof value === 'string' ? [value] : value;
  }

  /** A piece of what the caller sends. */
  abstract received(piece: Buffer): void;
  /** The caller has sent all. */
  abstract ended(): void;
  /** Ends the call with a failure, unless it is answered. */
  abstract fail(error: SvidgateError, status?: GrpcStatusName): void;

  /** Ends a stream. Unary calls go on: while the server stops, the gate decides as long as the process lives. */
  stop(_reason: SvidgateError): void {
    // Only streams end.
  }

  /** Before all else: what a header alone is a fault for. */
  begin(): void {
    if (this.#headers['grpc-timeout'] !== undefined && this.deadline === undefined) {
      this.fail(new SvidgateError('invalid_request', 'a grpc-timeout that is none'), 'INTERNAL');
    }
  }

  /** Tells whoever works on it that nobody waits any more. */
  cancel(reason: SvidgateError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#cancel?.abort(reason);
  }

  /** The stream is gone. */
  closed(): void {
    clearTimeout(this.#timer);
    this.cancel(CANCELED);
    this.hold(-this.#held);
    this.#isClosed = true;
  }

  sendTrailers(): void {
    this.stream.sendTrailers(this.#trailers);
    if (!this.hasEnded) closeSoon(this.stream);
  }

  protected get encoding(): string {
    return String(this.#headers['grpc-encoding'] ?? 'identity');
  }

  protected get isGone(): boolean {
    return this.#isClosed || this.stream.destroyed || this.stream.closed;
  }

  /** Whoever still works on a call whose stream is gone holds nothing for its caller. */
  protected hold(bytes: number): void {
    if (this.#isClosed) return;
    this.#held += bytes;
    this.connection.changeHeld(bytes);
  }

  /** What it holds from now on, beside what an open call costs. */
  protected holdOnly(bytes: number): void {
    this.hold(this.#ownBytes + bytes - this.#held);
  }

  /** Before the first message. */
  protected sendHeaders(): void {
    this.stream.respond(RESPONSE_HEADERS, BEFORE_TRAILERS);
  }

  /** No more is answered. */
  protected settle(): void {
    clearTimeout(this.#timer);
    this.cancel(ENDED);
  }

  /** Without messages, or after them. Without a failure it ends well. */
  protected endWith(failure?: GrpcFailure): void {
    this.settle();
    if (this.isGone) return;
    if (failure !== undefined) this.#trailers = trailersOf(failure);
    if (this.stream.headersSent) return void this.stream.end();
    respondTrailersOnly(this.stream, this.#trailers);
    if (!this.hasEnded) closeSoon(this.stream);
  }
}

function expire(call: WireCall): void {
  call.fail(EXPIRED);
}
