import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { describeError, SvidgateError, type Logger } from '../../core/index.ts';
import type { HeldTotal, Holder } from '../held-total.ts';
import { ownerOf, type Peer } from '../peer.ts';
import type { AcceptedClient } from '../tls/accepted-client.ts';
import type { HttpCall, HttpHeader, HttpReply } from './http-call.ts';

/** What all connections of a listener share. */
export interface HttpListener {
  readonly handle: (call: HttpCall) => Promise<HttpReply>;
  readonly onFault: (error: SvidgateError) => HttpReply;
  readonly maxBodyBytes: number;
  readonly held: HeldTotal;
  readonly logger: Logger;
  /** Set while the server stops. */
  isStopping: boolean;
}

export interface HttpConnectionParts {
  readonly socket: Socket;
  readonly peer: Peer;
  /** Of a connection by TLS. */
  readonly client?: AcceptedClient;
}

/** Before a client's certificate ends. */
const LEAVING_EARLY_MS = 10 * 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

interface OpenCall {
  readonly response: ServerResponse;
  readonly stop: AbortController;
}

/** One HTTP/1.1 connection. Its requests come one after the other: one that does not wait for the answer before is refused. */
export class HttpConnection implements Holder {
  held = 0;
  readonly owner: string;
  readonly #listener: HttpListener;
  readonly #socket: Socket;
  readonly #peer: Peer;
  readonly #client: AcceptedClient | undefined;
  readonly #calls = new Set<OpenCall>();
  #leavesFrom = Infinity;
  #isRefused = false;
  #onIdle: (() => void) | undefined;

  constructor(listener: HttpListener, { socket, peer, client }: HttpConnectionParts) {
    this.#listener = listener;
    this.#socket = socket;
    this.#peer = peer;
    this.#client = client;
    this.owner = ownerOf(peer);
    listener.held.add(this);
    socket.once('close', () => {
      listener.held.remove(this);
      for (const call of this.#calls) call.stop.abort(new SvidgateError('canceled', 'the caller has gone'));
      this.#calls.clear();
      this.#onIdle?.();
    });
    this.#watchProcess();
    this.#watchCertificate();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** A request whose body is still to come. */
  take(request: IncomingMessage, response: ServerResponse): void {
    if (this.#isRefused) return;
    const isEarly = this.#calls.size > 0;
    const call: OpenCall = { response, stop: new AbortController() };
    this.#calls.add(call);
    if (isEarly) {
      this.#fail(call, new SvidgateError('invalid_request', 'a request came before the last one was answered'));
      return;
    }
    void this.#answer(call, request);
  }

  /** Of what is no request: this is the last answer on the connection. */
  refuse(error: SvidgateError): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    const begun = [...this.#calls].some(({ response }) => response.headersSent);
    for (const call of this.#calls) call.stop.abort(error);
    this.#calls.clear();
    this.#onIdle?.();
    // Of a connection that was opened for later nobody asked anything.
    if (!this.#socket.writable || begun || this.#socket.bytesRead === 0) return this.destroy();
    this.#socket.end(rawReply(this.#listener.onFault(error)), () => this.#socket.destroy());
  }

  /** Resolves when no request is open; then the connection ends. */
  async leave(): Promise<void> {
    if (this.#calls.size > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    if (!this.#socket.destroyed) this.#socket.end();
  }

  failAll(error: SvidgateError): void {
    for (const call of this.#calls) this.#fail(call, error);
  }

  async #answer(call: OpenCall, request: IncomingMessage): Promise<void> {
    try {
      const body = await this.#readBody(request);
      this.#assertAccepted();
      const reply = await this.#listener.handle({
        peer: this.#peer,
        signal: call.stop.signal,
        method: request.method ?? '',
        target: request.url ?? '',
        headers: headersOf(request.rawHeaders),
        body,
      });
      this.#send(call, reply);
    } catch (error) {
      this.#fail(call, SvidgateError.from(error));
    } finally {
      this.#hold(-this.held);
    }
  }

  #readBody(request: IncomingMessage): Promise<Uint8Array> {
    const { maxBodyBytes } = this.#listener;
    const pieces: Buffer[] = [];
    let size = 0;
    return new Promise((resolve, reject) => {
      request.on('data', (piece: Buffer) => {
        size += piece.length;
        if (size > maxBodyBytes) {
          reject(new SvidgateError('too_large', `a body of more than ${maxBodyBytes} bytes`));
          return;
        }
        pieces.push(piece);
        this.#hold(piece.length);
      });
      request.once('end', () => resolve(Buffer.concat(pieces)));
      request.once('error', reject);
      request.once('close', () => reject(new SvidgateError('canceled', 'the caller has gone')));
    });
  }

  #hold(bytes: number): void {
    this.#listener.held.change(this, bytes);
  }

  /** Throws when the process at the other end has ended, or its certificate is not accepted any more. */
  #assertAccepted(): void {
    if (this.#peer.kind === 'unix' && this.#peer.process.exited.aborted)
      throw toError(this.#peer.process.exited.reason);
    this.#client?.assertAccepted();
  }

  /** A fault ends the connection: what comes after it may be the rest of the same request. */
  #fail(call: OpenCall, error: SvidgateError): void {
    if (!this.#calls.has(call)) return;
    this.#listener.logger.debug({ error_code: error.code, reason: describeError(error) }, 'call ended with a status');
    this.#send(call, this.#listener.onFault(error), true);
  }

  #send(call: OpenCall, reply: HttpReply, isLast = false): void {
    if (!this.#calls.has(call)) return;
    const { response } = call;
    if (response.headersSent || response.destroyed) return this.destroy();
    const body = Buffer.from(reply.body, 'utf8');
    const ends = isLast || this.#isLeaving();
    const headers = [...reply.headers, ['content-length', String(body.length)] as const];
    if (ends) headers.push(['connection', 'close']);
    response.sendDate = false;
    // A value that Node does not write is a fault of the handler's, and not the end of the connection without an answer.
    response.writeHead(reply.status, headers.flat());
    this.#calls.delete(call);
    response.end(body);
    if (this.#calls.size === 0) this.#onIdle?.();
  }

  #isLeaving(): boolean {
    return this.#listener.isStopping || (this.#client !== undefined && this.#client.now() >= this.#leavesFrom);
  }

  #watchProcess(): void {
    if (this.#peer.kind !== 'unix') return;
    const { exited } = this.#peer.process;
    const onExit = (): void => this.failAll(toError(exited.reason));
    exited.addEventListener('abort', onExit, { once: true });
    this.#socket.once('close', () => exited.removeEventListener('abort', onExit));
  }

  /** Whoever has a newer certificate comes back with it; an idle connection ends with the one it has. */
  #watchCertificate(): void {
    if (this.#client === undefined) return;
    const leftMs = this.#client.validUntil - this.#client.now();
    this.#leavesFrom = this.#client.validUntil - Math.min(LEAVING_EARLY_MS, leftMs / 5);
    if (leftMs > LONGEST_TIMER_MS) return;
    const timer = setTimeout(() => this.#calls.size === 0 && this.#socket.end(), leftMs).unref();
    this.#socket.once('close', () => clearTimeout(timer));
  }
}

/** Names and values in turns. */
function headersOf(raw: readonly string[]): readonly HttpHeader[] {
  const headers: HttpHeader[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) headers.push([raw[at]?.toLowerCase() ?? '', raw[at + 1] ?? '']);
  return headers;
}

function rawReply({ status, headers, body }: HttpReply): string {
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Denied'}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

function toError(reason: unknown): SvidgateError {
  return SvidgateError.from(reason);
}
