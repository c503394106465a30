import { randomUUID } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import type { ClientIdentity } from './identity.ts';

export interface HttpTarget {
  readonly address: string;
  readonly port: number;
  readonly identity: ClientIdentity;
}

/** A kept-alive HTTP/1.1 connection over mTLS, for one request at a time. Reads no more of HTTP than it must. */
export interface HttpConnection extends Disposable {
  /** The status of the answer. Rejects when the connection ends without one. */
  get(path: string): Promise<number>;
}

export async function openHttp({ address, port, identity }: HttpTarget): Promise<HttpConnection> {
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
  let waiting: PromiseWithResolvers<number> | undefined;
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
    const length = answerLength(received);
    if (length === undefined || received.length < length) return;
    const status = Number(received.slice(9, 12));
    received = '';
    waiting?.resolve(status);
  });
  socket.on('error', (error) => waiting?.reject(error));
  socket.on('close', () => waiting?.reject(new Error('the connection was closed')));
  return {
    get(path) {
      waiting = Promise.withResolvers();
      if (socket.destroyed) waiting.reject(new Error('the connection was closed'));
      socket.write(`GET ${path} HTTP/1.1\r\nhost: orders.bench.test\r\nx-request-id: ${randomUUID()}\r\n\r\n`);
      return waiting.promise;
    },
    [Symbol.dispose]: () => void socket.destroy(),
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
