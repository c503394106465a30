import { createConnection } from 'node:net';
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { SvidgateError, type ErrorCode } from '../core/index.ts';

export interface GrpcClientOptions {
  /** Path of the Unix socket. */
  readonly socket: string;
  /** The largest response. */
  readonly maxMessageBytes: number;
}

export interface GrpcCallOptions {
  /** Ends the call. */
  readonly signal: AbortSignal;
  /** Request headers besides gRPC's own. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The longest time that the whole call may take, in milliseconds; without it there is no limit. */
  readonly timeoutMs?: number;
}

/** Calls a gRPC server on a Unix socket. Raw bytes both ways. Each call throws a SvidgateError for a status that is not OK. */
export interface GrpcClient extends Disposable {
  unary(path: string, request: Uint8Array, options: GrpcCallOptions): Promise<Uint8Array>;
  /** The responses as they come; the server is held back while nobody takes them. */
  serverStream(path: string, request: Uint8Array, options: GrpcCallOptions): AsyncGenerator<Uint8Array, void, void>;
}

const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const toBytes = (bytes: Buffer): Uint8Array => bytes;

/** Throws `server_unreachable`, saying why, when nobody answers on the socket. */
export async function connectGrpc({ socket, maxMessageBytes }: GrpcClientOptions): Promise<GrpcClient> {
  await assertAnswers(socket);
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
    'grpc.max_send_message_length': -1,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
  });
  return {
    unary: (path, request, options) =>
      new Promise((resolve, reject) => {
        const call = client.makeUnaryRequest(
          path,
          toBuffer,
          toBytes,
          request,
          metadataOf(options),
          deadlineOf(options),
          (error, response) => {
            options.signal.removeEventListener('abort', cancel);
            if (response !== undefined) resolve(response);
            else reject(toError(error, options.signal));
          },
        );
        const cancel = (): void => call.cancel();
        options.signal.addEventListener('abort', cancel, { once: true });
        if (options.signal.aborted) cancel();
      }),
    async *serverStream(path, request, options) {
      const call = client.makeServerStreamRequest(
        path,
        toBuffer,
        toBytes,
        request,
        metadataOf(options),
        deadlineOf(options),
      );
      const cancel = (): void => call.cancel();
      options.signal.addEventListener('abort', cancel, { once: true });
      if (options.signal.aborted) cancel();
      try {
        for await (const response of call) yield response as Uint8Array;
      } catch (error) {
        throw toError(error, options.signal);
      } finally {
        options.signal.removeEventListener('abort', cancel);
        call.on('error', () => undefined); // of the cancel, when the reader has left
        cancel();
      }
    },
    [Symbol.dispose]: () => client.close(),
  };
}

/** grpc-js tells a missing socket, a refused one and a forbidden one apart in the text of its message only. */
async function assertAnswers(path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = createConnection({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const reason = REASONS[error.code ?? ''];
      const message = `no svidgate answers on ${path}${reason === undefined ? '' : `: ${reason}`}`;
      reject(new SvidgateError('server_unreachable', message, reason === undefined ? { cause: error } : {}));
    });
  });
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'this user may not open the socket',
  ECONNREFUSED: 'it is left from one that has ended',
  ENOENT: 'there is no such socket',
  ENOTSOCK: 'it is not a socket',
  ENOTDIR: 'a part of its path is not a folder',
};

const CODES: Partial<Record<status, ErrorCode>> = {
  [status.ALREADY_EXISTS]: 'already_exists',
  [status.CANCELLED]: 'canceled',
  [status.DEADLINE_EXCEEDED]: 'deadline_exceeded',
  [status.FAILED_PRECONDITION]: 'conflict',
  [status.INVALID_ARGUMENT]: 'invalid_request',
  [status.NOT_FOUND]: 'not_found',
  [status.PERMISSION_DENIED]: 'permission_denied',
  [status.RESOURCE_EXHAUSTED]: 'overloaded',
  [status.UNAVAILABLE]: 'server_unreachable',
  [status.UNIMPLEMENTED]: 'unimplemented',
};

function toError(caught: unknown, signal: AbortSignal): SvidgateError {
  if (signal.aborted) return SvidgateError.from(signal.reason);
  const { code, details } = caught as Partial<ServiceError>;
  const known = code === undefined ? undefined : CODES[code];
  return new SvidgateError(known ?? 'internal', details ?? 'the call failed', { cause: caught });
}

function metadataOf({ headers = {} }: GrpcCallOptions): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function deadlineOf({ timeoutMs }: GrpcCallOptions): { readonly deadline?: number } {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}
