/** Sends GET requests over kept-alive mTLS connections, one at a time on each. Reads no more of HTTP than it must. */
import { randomUUID } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import type { ClientIdentity } from './identity.ts';
import { measureRound, type Round } from './measure.ts';
import { serveJobs } from './serve-jobs.ts';

export interface HttpLoad {
  readonly address: string;
  readonly port: number;
  readonly identity: ClientIdentity;
  readonly concurrency: number;
  readonly durationMs: number;
}

interface Connection {
  /** Rejects unless the answer is 200. */
  get(path: string): Promise<void>;
}

const connections = new Map<number, readonly Connection[]>();

const jobs = {
  /** Connections are kept for the next round on the same port. */
  async load(load: HttpLoad): Promise<Round> {
    const { port, concurrency } = load;
    const open = connections.get(port) ?? (await Promise.all(Array.from({ length: concurrency }, () => openTo(load))));
    connections.set(port, open);
    let sent = 0;
    return measureRound(load, async (worker) => {
      sent += 1;
      await open[worker]!.get(`/orders/${sent % 64}`);
    });
  },
};

export type HttpJobs = typeof jobs;

serveJobs(jobs);

async function openTo({ address, port, identity }: HttpLoad): Promise<Connection> {
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const opening = connect({
      host: address,
      port,
      ca: identity.trustBundle,
      cert: identity.certificateChain,
      key: identity.privateKey,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['http/1.1'],
      checkServerIdentity: () => undefined, // any SVID of the trust domain will do
    });
    opening.once('secureConnect', () => resolve(opening));
    opening.once('error', reject);
  });
  socket.setNoDelay(true);
  let waiting: PromiseWithResolvers<void> | undefined;
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
    const length = answerLength(received);
    if (length === undefined || received.length < length) return;
    const status = received.slice(9, 12);
    received = '';
    if (status === '200') waiting?.resolve();
    else waiting?.reject(new Error(`answer ${status}`));
  });
  socket.on('error', (error) => waiting?.reject(error));
  socket.on('close', () => waiting?.reject(new Error('the connection was closed')));
  return {
    get(path) {
      waiting = Promise.withResolvers();
      socket.write(`GET ${path} HTTP/1.1\r\nhost: orders.bench.test\r\nx-request-id: ${randomUUID()}\r\n\r\n`);
      return waiting.promise;
    },
  };
}

/** Head and body together, or undefined before the head is there. */
function answerLength(received: string): number | undefined {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd === -1) return undefined;
  const length = /\r\ncontent-length: (\d+)/.exec(received)?.[1];
  if (length === undefined) throw new Error('an answer without content-length');
  return headEnd + 4 + Number(length);
}
