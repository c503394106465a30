import { createAdaptorServer } from '@hono/node-server';
import { bind, type ListenAddress } from './bind.ts';

export interface HttpServer {
  /** `unix:PATH` or `HOST:PORT` with the port that was bound. */
  readonly address: string;
  close(): Promise<void>;
}

/** Serves a fetch handler over plain HTTP. Throws what `bind` throws. */
export async function startHttpServer(options: {
  readonly address: ListenAddress;
  readonly fetch: (request: Request) => Response | Promise<Response>;
}): Promise<HttpServer> {
  const server = createAdaptorServer({ fetch: options.fetch });
  const { address, aliases } = await bind(server, options.address);
  return {
    address,
    async close() {
      aliases.remove();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      if ('closeAllConnections' in server) server.closeAllConnections();
      await closed;
    },
  };
}
