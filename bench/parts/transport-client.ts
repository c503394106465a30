import { once } from 'node:events';
import http2 from 'node:http2';
import { createConnection } from 'node:net';
import { AUTHORIZATION_SERVICE } from '../../src/proto/index.ts';
import { frame } from '../../test/support/raw-grpc.ts';

/** Of an ordinary check request. */
const REQUEST_BYTES = 900;

export interface TransportClient extends Disposable {
  /** One call; rejects when it does not end well. */
  ask(): Promise<void>;
}

/** One connection to a server of transport-worker.ts, with these headers beside those of every call. */
export function connectTransport(path: string, more: http2.OutgoingHttpHeaders): TransportClient {
  const session = http2.connect('http://svidgate', { createConnection: () => createConnection(path) });
  const headers = {
    ':method': 'POST',
    ':path': AUTHORIZATION_SERVICE.check.path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  };
  const body = frame(Buffer.alloc(REQUEST_BYTES, 1));
  return {
    async ask() {
      const stream = session.request(headers);
      stream.resume().end(body);
      const [trailers] = (await once(stream, 'trailers')) as [http2.IncomingHttpHeaders];
      if (trailers['grpc-status'] !== '0') throw new Error('answered with another status than 0');
    },
    [Symbol.dispose]: () => session.destroy(),
  };
}
