import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** What came back, also where it is not what gRPC would say. */
export interface RawAnswer {
  readonly httpStatus: number | undefined;
  /** From the trailers, or from the headers where there is nothing else. */
  readonly grpcStatus: string | undefined;
  /** The first message, or undefined. */
  readonly message: Uint8Array | undefined;
}

export interface RawCall {
  readonly path: string;
  /** In the place of, or beside, what gRPC sends. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Written one after the other. */
  readonly body?: readonly Uint8Array[];
  /** Leave the request open after the body. Default: it is ended. */
  readonly open?: boolean;
}

/** gRPC by hand over a Unix socket, for requests that no gRPC library would send. */
export interface RawGrpc extends Disposable {
  call(call: RawCall): Promise<RawAnswer>;
}

const LIMIT_MS = 5000;

/** A message with its five-byte prefix; flag 1 says that it is compressed. */
export function frame(message: Uint8Array, flag = 0): Uint8Array {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flag);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

export function connectRaw(address: string): RawGrpc {
  const session = http2.connect('http://svidgate', {
    createConnection: () => net.connect(address.replace(/^unix:/, '')),
    maxSessionMemory: 1000, // or else our own side refuses to send what is large
  });
  session.on('error', () => undefined); // seen as the end of the calls
  return {
    async call({ path, headers = {}, body = [], open = false }) {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...headers,
      });
      const seen: Record<string, unknown> = {};
      const chunks: Buffer[] = [];
      stream.on('response', (response) => Object.assign(seen, response));
      stream.on('trailers', (trailers) => Object.assign(seen, trailers));
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', () => undefined);
      for (const part of body) stream.write(part);
      if (!open) stream.end();
      const limit = new AbortController();
      await Promise.race([once(stream, 'end'), once(stream, 'close'), pause(LIMIT_MS, undefined, limit)]);
      limit.abort();
      stream.close();
      const bytes = Buffer.concat(chunks);
      return {
        httpStatus: seen[':status'] as number | undefined,
        grpcStatus: seen['grpc-status'] as string | undefined,
        message: bytes.length < 5 ? undefined : bytes.subarray(5, 5 + bytes.readUInt32BE(1)),
      };
    },
    [Symbol.dispose]: () => session.destroy(),
  };
}
