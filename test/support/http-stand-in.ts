import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A server that answers as the test wants; the answer can be replaced at any time. */
export interface HttpStandIn extends AsyncDisposable {
  /** 0 on a Unix socket. */
  readonly port: number;
  readonly requests: { readonly path: string; readonly authorization: string | undefined }[];
  answer: Answer;
}

export interface HttpStandInOptions {
  /** A Unix socket; a free port of 127.0.0.1 when left out. */
  readonly socket?: string;
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  readonly answer: Answer;
}

export async function startHttpStandIn({ socket, tls, answer }: HttpStandInOptions): Promise<HttpStandIn> {
  const requests: HttpStandIn['requests'] = [];
  const listener: Answer = (request, response) => {
    requests.push({ path: request.url ?? '', authorization: request.headers.authorization });
    standIn.answer(request, response);
  };
  const { clientCa: ca, ...certificate } = tls ?? {};
  const server =
    tls === undefined
      ? createServer(listener)
      : createTlsServer({ ...certificate, ...(ca === undefined ? {} : { ca, requestCert: true }) }, listener);
  server.on('tlsClientError', () => undefined);
  if (socket === undefined) server.listen(0, '127.0.0.1');
  else server.listen(socket);
  await once(server, 'listening');
  const address = server.address();
  const standIn: HttpStandIn = {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    requests,
    answer,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return standIn;
}

/** Answers with a value as JSON. */
export function json(value: unknown, status = 200): Answer {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };
}
