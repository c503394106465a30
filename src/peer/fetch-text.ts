import { request, type RequestOptions } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { SvidgateError } from '../core/index.ts';

export interface TextRequest {
  readonly url: string;
  /** PEM of the CAs that the server's certificate is checked with; Node's own when undefined. */
  readonly ca?: string | undefined;
  readonly bearerToken?: string | undefined;
  readonly maxBytes: number;
  /** Of the whole exchange. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * What a server answers to GET over HTTPS, as text. Only status 200 with at most `maxBytes` counts; redirects are not
 * followed. Rejects with `upstream_failed` or `too_large`, the signal's abort included.
 */
export async function fetchText(options: TextRequest): Promise<string> {
  const { url, ca, bearerToken, maxBytes, timeoutMs } = options;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMs)]);
  const requestOptions: RequestOptions = {
    agent: false,
    signal,
    headers: {
      accept: 'application/json',
      'accept-encoding': 'identity',
      ...(bearerToken === undefined ? {} : { authorization: `Bearer ${bearerToken}` }),
    },
    ...(ca === undefined ? {} : { ca }),
  };
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request(url, requestOptions).on('error', reject).on('response', resolve).end();
    });
    return await readBody(response, maxBytes);
  } catch (error) {
    if (error instanceof SvidgateError) throw error;
    const why =
      signal.aborted && !options.signal.aborted ? `did not answer within ${timeoutMs} ms` : 'cannot be reached';
    throw new SvidgateError('upstream_failed', `${url} ${why}`, { cause: error });
  }
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  try {
    if (response.statusCode !== 200) {
      throw new SvidgateError('upstream_failed', `the server answers with status ${response.statusCode ?? 0}, not 200`);
    }
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const piece of response as AsyncIterable<Uint8Array>) {
      length += piece.length;
      if (length > maxBytes)
        throw new SvidgateError('too_large', `the server answers with more than ${maxBytes} bytes`);
      pieces.push(piece);
    }
    if (!response.complete) throw new SvidgateError('upstream_failed', 'the answer was cut short');
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(pieces));
  } finally {
    response.destroy();
  }
}
