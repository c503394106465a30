import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * A loopback address of the caller's own out of 127.0.0.0/8, so that runs side by side never meet, whatever ports they
 * use. Linux answers on all of them without any set-up.
 */
export async function freeLoopbackAddress(): Promise<string> {
  const address = `127.${randomInt(1, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;
  await freePorts(address, 1);
  return address;
}

/** Ports that nothing listens on, on this address or on all addresses. Distinct; taken by nobody yet. */
export async function freePorts(address: string, count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      server.listen(0, address);
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { readonly port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
