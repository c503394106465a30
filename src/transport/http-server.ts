import { serve, type ServerType } from '@hono/node-server';
import { SvidgateError } from '../core/index.ts';

export interface HttpServer {
  /** `HOST:PORT` with the port that was bound. */
  readonly address: string;
  close(): Promise<void>;
}

/** Serves a fetch handler over plain HTTP. Throws `address_in_use`. */
export async function startHttpServer(options: {
  readonly host: string;
  readonly port: number;
  readonly fetch: (request: Request) => Response | Promise<Response>;
}): Promise<HttpServer> {
  const { host, port, fetch } = options;
  const { server, bound } = await new Promise<{ server: ServerType; bound: number }>((resolve, reject) => {
    const created = serve({ fetch, hostname: host, port }, (info) => resolve({ server: created, bound: info.port }));
    created.once('error', (error: NodeJS.ErrnoException) => {
      const message = `cannot listen on ${host}:${port} (${error.code ?? error.message})`;
      reject(new SvidgateError('address_in_use', message, { cause: error }));
    });
  });
  return {
    address: `${host}:${bound}`,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      if ('closeAllConnections' in server) server.closeAllConnections();
      await closed;
    },
  };
}
