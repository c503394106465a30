import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';

/** Where to ask. */
export type HttpTarget =
  | { readonly kind: 'unix'; readonly socket: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'tls'; readonly host: string; readonly port: number; readonly trust: TlsTrust };

/** What the server must show, and what we show. */
export interface TlsTrust {
  /** PEM of the CAs, or undefined when the certificate is not checked at all. */
  readonly ca: string | undefined;
  /** The name or address in the certificate; undefined to check the chain alone. */
  readonly serverName: string | undefined;
  /** PEM of a client certificate and its key. */
  readonly client: { readonly certificate: string; readonly key: string } | undefined;
}

export interface HttpRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** A longer answer is an error. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/**
 * GET on a connection of its own. Gives the JSON of an answer with status 200, undefined for 404; anything else, a cut
 * or overlong answer too, is an error, whose text never quotes the answer. Redirections are not followed.
 */
export async function getJson(target: HttpTarget, request: HttpRequest): Promise<unknown> {
  const response = await respond(target, request);
  try {
    if (response.statusCode === 404) return undefined;
    if (response.statusCode !== 200) throw new Error(`the answer to ${request.path} has status ${response.statusCode}`);
    const body = await readBody(response, request.maxBytes);
    return parse(body, request.path);
  } finally {
    response.destroy();
  }
}

function respond(target: HttpTarget, { path, headers, signal }: HttpRequest): Promise<IncomingMessage> {
  const common = { path, headers, signal, agent: false } as const;
  return new Promise((resolve, reject) => {
    const request = open(target, common);
    request.once('response', resolve).on('error', reject);
    request.end();
  });
}

interface CommonOptions {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly agent: false;
}

function open(target: HttpTarget, common: CommonOptions): ClientRequest {
  switch (target.kind) {
    case 'unix':
      return requestHttp({ ...common, socketPath: target.socket });
    case 'tcp':
      return requestHttp({ ...common, host: target.host, port: target.port });
    case 'tls': {
      const { ca, serverName, client } = target.trust;
      return requestHttps({
        ...common,
        host: target.host,
        port: target.port,
        ...(ca === undefined ? { rejectUnauthorized: false } : { ca }),
        // No address may stand in the server name extension (RFC 6066 §3).
        servername: serverName === undefined || isIP(serverName) !== 0 ? '' : serverName,
        checkServerIdentity: (_host, certificate) =>
          serverName === undefined ? undefined : checkServerIdentity(serverName, certificate),
        ...(client === undefined ? {} : { cert: client.certificate, key: client.key }),
      });
    }
  }
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`);
    pieces.push(piece);
  }
  if (!response.complete) throw new Error('the answer was cut off');
  return Buffer.concat(pieces).toString('utf8');
}

function parse(body: string, path: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    // The parser's message quotes the text, which can hold secrets.
    throw new Error(`the answer to ${path} is no JSON`);
  }
}
