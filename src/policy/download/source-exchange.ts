import { request as requestHttp, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { describeError, SvidgateError, type Clock } from '../../core/index.ts';
import { openConnection, type SourceTls } from './source-connection.ts';

/** One GET. */
export interface SourceRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: SourceTls;
  /** The longest body that is taken. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export interface SourceAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Empty unless the status is 200. */
  readonly body: Uint8Array;
}

/**
 * One request on a connection of its own, and its answer: no proxy, no redirect, no session that is resumed. Rejects with
 * `policy_source_failed`, the reason in its message, or when the signal is aborted.
 */
export async function exchangeWithSource(request: SourceRequest): Promise<SourceAnswer> {
  const { url, signal } = request;
  try {
    return await exchange(request);
  } catch (error) {
    if (error instanceof SvidgateError) throw error;
    signal.throwIfAborted();
    throw failure(`${url.host} cannot be asked: ${describeError(error)}`);
  }
}

export interface TimeLimit {
  /** Who is waited for. */
  readonly host: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The work's outcome, or `policy_source_failed` when it takes longer; its signal is then aborted. */
export async function withinTime<T>(limit: TimeLimit, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { host, timeoutMs, clock, signal } = limit;
  const done = new AbortController();
  const late = new AbortController();
  clock.sleep(timeoutMs, done.signal).then(
    () => late.abort(),
    () => undefined,
  );
  try {
    return await work(AbortSignal.any([signal, late.signal]));
  } catch (error) {
    signal.throwIfAborted();
    if (late.signal.aborted && !(error instanceof SvidgateError))
      throw failure(`${host} did not answer in full within ${timeoutMs} ms`);
    throw error;
  } finally {
    done.abort();
  }
}

/** What went wrong with a source, without anything of a request. */
export function failure(message: string): SvidgateError {
  return new SvidgateError('policy_source_failed', message);
}

async function exchange(wanted: SourceRequest): Promise<SourceAnswer> {
  const { url, headers, tls, maxBytes, signal } = wanted;
  const socket = await openConnection(url, tls, signal);
  try {
    const send = url.protocol === 'https:' ? requestHttps : requestHttp;
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = send(url, {
        createConnection: () => socket,
        headers: { ...headers, connection: 'close', 'user-agent': 'svidgate' },
        signal,
      });
      request.on('error', reject).on('response', resolve).end();
    });
    const status = response.statusCode ?? 0;
    const body = status === 200 ? await readBody(response, maxBytes) : new Uint8Array();
    return { status, headers: response.headers, body };
  } finally {
    socket.destroy();
  }
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = (): SvidgateError => failure(`it answers with more than ${maxBytes} bytes`);
  if (Number(response.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response as AsyncIterable<Uint8Array>) {
    length += piece.length;
    if (length > maxBytes) throw tooLarge();
    pieces.push(piece);
  }
  if (!response.complete) throw failure('its answer was cut short');
  return Buffer.concat(pieces, length);
}
