import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { getCACertificates } from 'node:tls';
import { describeError } from '../../core/index.ts';

export interface ReceiverOptions {
  readonly url: string;
  readonly tokenFile?: string | undefined;
  readonly caFile?: string | undefined;
  /** Of one request with its answer. */
  readonly timeoutMs: number;
}

export interface PostAnswer {
  readonly status: number;
  /** Its first 64 KiB. */
  readonly body: string;
  readonly retryAfterMs: number | undefined;
}

const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_TOKEN_BYTES = 64 * 1024;
const MAX_RETRY_AFTER_MS = 3600_000;

/** Posts gzipped JSON to one receiver, on one connection that is kept. Redirects are answers like any other. */
export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #url: URL;
  readonly #agent: HttpAgent;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    const settings = { keepAlive: true, maxSockets: 1 };
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent(settings) : new HttpAgent(settings);
  }

  /** Rejects with what failed, without anything of the body or the token; with the signal's reason when it is aborted. */
  async post(body: Uint8Array, signal: AbortSignal): Promise<PostAnswer> {
    const late = AbortSignal.timeout(this.#options.timeoutMs);
    const both = AbortSignal.any([signal, late]);
    try {
      return await this.#once(body, both);
    } catch (error) {
      signal.throwIfAborted();
      if (late.aborted) {
        const message = `${this.#url.host} did not answer within ${this.#options.timeoutMs} ms`;
        throw new Error(message, { cause: error });
      }
      // A connection that was kept may be closed by the time that it is used again.
      if (!(error instanceof StaleConnection)) throw error;
    }
    return await this.#once(body, both);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #once(body: Uint8Array, signal: AbortSignal): Promise<PostAnswer> {
    const { tokenFile, caFile } = this.#options;
    const token = tokenFile === undefined ? undefined : await tokenIn(tokenFile);
    const send = this.#url.protocol === 'https:' ? requestHttps : requestHttp;
    const request = send(this.#url, {
      method: 'POST',
      agent: this.#agent,
      signal,
      minVersion: 'TLSv1.2',
      ...(this.#url.protocol === 'https:' ? await trustOf(caFile) : {}),
      headers: {
        'content-type': 'application/json',
        'content-encoding': 'gzip',
        'content-length': body.length,
        accept: 'application/json',
        'user-agent': 'svidgate',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
    });
    const response = await answerTo(request, body);
    const text = await textOf(response);
    return { status: response.statusCode ?? 0, body: text, retryAfterMs: retryAfterOf(response) };
  }
}

class StaleConnection extends Error {}

async function answerTo(request: ClientRequest, body: Uint8Array): Promise<IncomingMessage> {
  return await new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', (error) => {
      const isStale = request.reusedSocket && 'code' in error && error.code === 'ECONNRESET';
      reject(isStale ? new StaleConnection('the connection was closed', { cause: error }) : error);
    });
    request.end(body);
  });
}

/** What is more than the limit ends the connection, not the answer. */
async function textOf(response: IncomingMessage): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response as AsyncIterable<Uint8Array>) {
    pieces.push(piece);
    length += piece.length;
    if (length < MAX_ANSWER_BYTES) continue;
    response.destroy();
    break;
  }
  if (!response.complete && length < MAX_ANSWER_BYTES) throw new Error('its answer was cut short');
  return Buffer.concat(pieces).toString('utf8', 0, MAX_ANSWER_BYTES);
}

/** RFC 9110 §10.2.3: seconds, or a date. */
function retryAfterOf(response: IncomingMessage): number | undefined {
  const value = response.headers['retry-after'];
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, ms));
}

async function trustOf(caFile: string | undefined): Promise<{ readonly ca?: string | string[] }> {
  if (caFile !== undefined) return { ca: await readFile(caFile, 'utf8') };
  const ofSystem = [...getCACertificates('system'), ...getCACertificates('extra')];
  // Node's own where the system has none.
  return ofSystem.length === 0 ? {} : { ca: ofSystem };
}

async function tokenIn(path: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    throw new Error(`the token cannot be read: ${describeError(error)}`, { cause: error });
  }
  if (text === '' || text.length > MAX_TOKEN_BYTES || !/^[\x21-\x7e]+$/.test(text)) {
    throw new Error(`${path} holds no bearer token`);
  }
  return text;
}
