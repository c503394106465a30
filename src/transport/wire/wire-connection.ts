import {
  constants,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { describeError, SvidgateError, type Logger } from '../../core/index.ts';
import type { GrpcMethod } from '../grpc-service.ts';
import type { HeldTotal, Holder } from '../held-total.ts';
import { ownerOf, type Peer } from '../peer.ts';
import type { AcceptedClient } from '../tls/accepted-client.ts';
import { closeSoon, respondTrailersOnly, trailersOf } from './grpc-status.ts';
import { StreamCall } from './stream-call.ts';
import { UnaryCall } from './unary-call.ts';
import type { WireCall } from './wire-call.ts';

/** What all connections of a listener share. */
export interface WireListener {
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  readonly maxMessageBytes: number;
  readonly held: HeldTotal;
  readonly logger: Logger;
  /** Set while the server stops. */
  isStopping: boolean;
}

export interface WireConnectionParts {
  readonly peer: Peer;
  readonly session: ServerHttp2Session;
  /** Of a connection by TLS. */
  readonly client?: AcceptedClient;
}

/** Before a client's certificate ends. */
const LEAVING_EARLY_MS = 10 * 60_000;
/** How long what was under way may take to arrive. */
const LEAVING_MS = 20;
const LAST_STREAM = 2 ** 31 - 1;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const CALL = Symbol('call');

interface CallStream extends ServerHttp2Stream {
  [CALL]: WireCall;
}

/** One HTTP/2 connection with its open calls. */
export class WireConnection implements Holder {
  held = 0;
  readonly owner: string;
  readonly peer: Peer;
  readonly maxMessageBytes: number;
  readonly calls = new Set<WireCall>();
  readonly #listener: WireListener;
  readonly #session: ServerHttp2Session;
  readonly #client: AcceptedClient | undefined;
  #onIdle: (() => void) | undefined;
  #leavesFrom = Infinity;
  #isLeaving = false;

  constructor(listener: WireListener, { peer, session, client }: WireConnectionParts) {
    this.#listener = listener;
    this.#session = session;
    this.#client = client;
    this.peer = peer;
    this.owner = ownerOf(peer);
    this.maxMessageBytes = listener.maxMessageBytes;
    listener.held.add(this);
    const fields = { connection_id: peer.connectionId };
    session.on('error', (error) =>
      listener.logger.debug({ ...fields, reason: describeError(error) }, 'connection failed'),
    );
    // oxlint-disable-next-line max-params -- Node's
    session.on('stream', (stream, headers, _flags, fields: readonly string[]) => this.#open(stream, headers, fields));
    session.once('close', () => listener.held.remove(this));
    this.#watchProcess();
    if (client === undefined) return;
    const leftMs = client.validUntil - client.now();
    this.#leavesFrom = client.validUntil - Math.min(LEAVING_EARLY_MS, leftMs / 5);
    this.#closeAtEnd(leftMs);
  }

  get session(): Http2Session {
    return this.#session;
  }

  destroy(): void {
    this.#session.destroy();
  }

  /** The present streams go on; the caller makes a new connection for the next. */
  close(): void {
    if (!this.#session.closed) this.#session.close();
  }

  changeHeld(bytes: number): void {
    this.#listener.held.change(this, bytes);
  }

  /** Throws when the process at the other end has ended, or its certificate is not accepted any more. */
  assertAccepted(): void {
    const { peer } = this;
    if (peer.kind === 'unix' && peer.process.exited.aborted) throw toError(peer.process.exited.reason);
    if (this.#client === undefined) return;
    try {
      this.#client.assertAccepted();
    } catch (error) {
      setImmediate(() => this.#leave(toError(error)));
      throw error;
    }
  }

  /** Whoever has a newer certificate comes back with it. */
  #leave(reason: SvidgateError): void {
    for (const call of this.calls) call.stop(reason);
    this.close();
  }

  assertServesStreams(): void {
    if (this.#listener.isStopping) throw shuttingDown();
  }

  logFailure(caught: unknown, method: string): void {
    const error = SvidgateError.from(caught);
    const fields = { method, error_code: error.code, grpc_status: error.grpcStatus, reason: describeError(error) };
    if (error.grpcStatus === 'INTERNAL') this.#listener.logger.error(fields, 'call failed');
    else this.#listener.logger.debug(fields, 'call ended with a status');
  }

  /** Resolves when no call is open. */
  idle(): Promise<void> {
    if (this.calls.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#onIdle = resolve));
  }

  /**
   * The client is asked to come back with a newer certificate by the first call of the time before its end. What was sent
   * before it heard of that is still read and answered, since that call stays open a moment longer: Node reads nothing any
   * more from a connection that was asked to leave and has no call.
   */
  #askToLeave(call: WireCall): void {
    if (this.#client === undefined || this.#isLeaving || this.#client.now() < this.#leavesFrom) return;
    this.#isLeaving = true;
    this.#session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM);
    call.answerDelayMs = LEAVING_MS;
  }

  /** Of an idle connection, so that its next call is not denied for that. */
  #closeAtEnd(leftMs: number): void {
    if (leftMs > LONGEST_TIMER_MS) return;
    const timer = setTimeout(() => this.calls.size === 0 && this.close(), leftMs).unref();
    this.#session.once('close', () => clearTimeout(timer));
  }

  #watchProcess(): void {
    const { peer } = this;
    if (peer.kind !== 'unix') return;
    const { exited } = peer.process;
    const onExit = (): void => {
      for (const call of this.calls) call.cancel(toError(exited.reason));
    };
    exited.addEventListener('abort', onExit, { once: true });
    this.#session.once('close', () => exited.removeEventListener('abort', onExit));
  }

  /** @param fields names and values as they came */
  #open(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, fields: readonly string[]): void {
    stream.on('error', ignore); // each is followed by 'close'
    if (stream.destroyed || stream.closed) return; // canceled in the bytes that it came with
    const type = headers['content-type'];
    if (headers[':method'] !== 'POST') return refuse(stream, 405);
    if (typeof type !== 'string' || !type.startsWith('application/grpc')) return refuse(stream, 415);
    const path = headers[':path'] ?? '';
    const method = this.#listener.methods.get(path);
    if (method === undefined) {
      const failure = { status: 'UNIMPLEMENTED', message: `The server does not implement the method ${path}` } as const;
      respondTrailersOnly(stream, trailersOf(failure));
      return leave(stream);
    }
    const incoming = { connection: this, stream, headers, headerBytes: bytesOf(fields) };
    const call = method.kind === 'unary' ? new UnaryCall(incoming, method) : new StreamCall(incoming, method);
    (stream as CallStream)[CALL] = call;
    this.calls.add(call);
    stream.on('data', onData).on('end', onEnd).on('close', onClose).on('wantTrailers', onWantTrailers);
    this.#askToLeave(call);
    call.begin();
  }

  /** Of a call's stream. */
  closed(call: WireCall): void {
    this.calls.delete(call);
    call.closed();
    if (this.calls.size > 0) return;
    this.#onIdle?.();
    if (this.#isLeaving) this.close();
  }
}

function bytesOf(fields: readonly string[]): number {
  let bytes = 0;
  for (const text of fields) bytes += text.length;
  return bytes;
}

function onData(this: CallStream, piece: Buffer): void {
  this[CALL].received(piece);
}

function onEnd(this: CallStream): void {
  this[CALL].ended();
}

function onWantTrailers(this: CallStream): void {
  this[CALL].sendTrailers();
}

function onClose(this: CallStream): void {
  const call = this[CALL];
  call.connection.closed(call);
}

function ignore(): void {
  // Nothing can be said to this caller any more.
}

function refuse(stream: ServerHttp2Stream, httpStatus: number): void {
  stream.respond({ ':status': httpStatus }, { endStream: true });
  leave(stream);
}

/** Of what is no call nobody counts what it holds. */
function leave(stream: ServerHttp2Stream): void {
  stream.resume();
  closeSoon(stream);
}

function toError(reason: unknown): SvidgateError {
  return SvidgateError.from(reason);
}

export function shuttingDown(): SvidgateError {
  return new SvidgateError('shutting_down', 'svidgate is stopping');
}
