import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { SecureContextOptions, Server as TlsServer, TLSSocket } from 'node:tls';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** One question that came. */
export interface BundleQuestion {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The URI SANs of the client's certificate, as Node writes them. */
  readonly client: string | undefined;
}

/** A server of OPA's bundle API, which can be told to do wrong. */
export interface BundleServer extends AsyncDisposable {
  readonly port: number;
  readonly questions: BundleQuestion[];
  /** What it gives from now on; whoever waits gets it at once. */
  publish(bytes: Uint8Array, etag?: string): void;
  /** The change that those get who have `from` and take changes. */
  publishDelta(from: string, bytes: Uint8Array, etag: string): void;
  /** Answers instead of it, until it is undefined again. */
  fault: Answer | undefined;
  /** What it shows, and whom it takes, from now on; over TLS alone. */
  secure(options: SecureContextOptions): void;
  /** Takes no connections any more, and ends those that are open. */
  down(): Promise<void>;
  up(): Promise<void>;
}

export interface BundleServerOptions {
  readonly tls?: ServerOptions;
  /** Whether it waits for news when it is told to. */
  readonly canWait?: boolean;
  readonly token?: string;
}

interface Published {
  readonly bytes: Uint8Array;
  readonly etag: string | undefined;
  readonly deltaFrom?: string;
}

export async function startBundleServer(options: BundleServerOptions = {}): Promise<BundleServer> {
  const { tls, canWait = false, token } = options;
  let published: Published | undefined;
  let delta: Published | undefined;
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const each of waiting) each();
    waiting.clear();
  };
  const answer: Answer = (request, response) => {
    const known = request.headers['if-none-match'];
    const prefer = String(request.headers['prefer'] ?? '');
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`)
      return void response.writeHead(401).end();
    if (published === undefined) return void response.writeHead(404).end();
    const type = { 'content-type': canWait ? 'application/vnd.openpolicyagent.bundles' : 'application/gzip' };
    if (known !== undefined && known === published.etag) {
      const waitMs = Number(/wait=(\d+)/.exec(prefer)?.[1] ?? 0) * 1000;
      if (!canWait || waitMs === 0) return void response.writeHead(304, { etag: known }).end();
      const again = (): void => {
        clearTimeout(timer);
        waiting.delete(again);
        if (!response.destroyed) answer(request, response);
      };
      const timer = setTimeout(() => {
        waiting.delete(again);
        response.writeHead(304, { etag: known }).end();
      }, waitMs);
      waiting.add(again);
      request.socket.once('close', () => clearTimeout(timer));
      return;
    }
    const isDelta = delta !== undefined && known === delta.deltaFrom && prefer.includes('delta');
    const { bytes, etag } = isDelta && delta !== undefined ? delta : published;
    response.writeHead(200, { ...type, ...(etag === undefined ? {} : { etag }) }).end(bytes);
  };
  const listener: Answer = (request, response) => {
    const certificate = tls === undefined ? undefined : (request.socket as TLSSocket).getPeerCertificate();
    questions.push({ path: request.url ?? '', headers: request.headers, client: certificate?.subjectaltname });
    (server.fault ?? answer)(request, response);
  };
  const http = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  http.on('tlsClientError', () => undefined);
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const address = http.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const questions: BundleQuestion[] = [];
  const server: BundleServer = {
    port,
    questions,
    fault: undefined,
    publish(bytes, etag) {
      published = { bytes, etag };
      delta = undefined;
      wake();
    },
    publishDelta(from, bytes, etag) {
      delta = { bytes, etag, deltaFrom: from };
      published = { bytes: published?.bytes ?? bytes, etag };
      wake();
    },
    secure: (context) => (http as unknown as TlsServer).setSecureContext(context),
    async down() {
      if (!http.listening) return;
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
    async up() {
      http.listen(port, '127.0.0.1');
      await once(http, 'listening');
    },
    async [Symbol.asyncDispose]() {
      await server.down();
    },
  };
  return server;
}
