import { Agent as HttpAgent, request as requestHttp, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';

/** One connection to Envoy, made with its first request. */
export interface HttpClient extends Disposable {
  /** Rejects when the connection is refused, or ends without an answer. */
  send(sent: HttpSent): Promise<HttpAnswer>;
}

export interface HttpSent {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly generation: string | undefined;
  /** Envoy ends the connection; the next request is the first of another one. */
  readonly isLast: boolean;
}

const LIMIT_MS = 30_000;

export function httpClient(
  { address, port }: { readonly address: string; readonly port: number },
  identity?: { readonly cert: string; readonly key: string },
): HttpClient {
  const options = { keepAlive: true, maxSockets: 1 };
  const agent = identity === undefined ? new HttpAgent(options) : new HttpsAgent({ ...options, maxCachedSessions: 0 });
  return {
    send: ({ method, path, headers, body = '' }) =>
      new Promise((resolve, reject) => {
        const target = { host: address, port, method, path, agent, timeout: LIMIT_MS };
        const length = body === '' ? {} : { 'content-length': Buffer.byteLength(body) };
        const receive = (response: IncomingMessage): void => {
          response.on('error', reject);
          response.resume().on('end', () => resolve(answerOf(response)));
        };
        const all = { ...target, headers: { ...headers, ...length } };
        const sent =
          identity === undefined
            ? requestHttp(all, receive)
            : requestHttps({ ...all, ...identity, rejectUnauthorized: false }, receive);
        sent.on('timeout', () => sent.destroy(new Error('no answer')));
        sent.on('error', reject);
        sent.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

function answerOf({ statusCode = 0, headers }: IncomingMessage): HttpAnswer {
  const generation = headers['x-generation'];
  return {
    status: statusCode,
    generation: Array.isArray(generation) ? generation.join(',') : generation,
    isLast: headers.connection === 'close',
  };
}
