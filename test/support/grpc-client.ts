import * as grpc from '@grpc/grpc-js';
import {
  AUTHORIZATION_SERVICE,
  CheckRequest,
  CheckResponse,
  decodeMessage,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
  SECRET_DISCOVERY_SERVICE,
  SECRET_TYPE_URL,
  type CheckRequestInit,
  type Codec,
  type DiscoveryRequestInit,
} from '../../src/proto/index.ts';

const MAX_BYTES = 64 * 1024 * 1024;
const LIMIT_MS = 20_000;

/** A gRPC client for a Unix socket or HOST:PORT, sending the raw bytes it is given. */
export interface RawClient extends Disposable {
  unary(path: string, request: Uint8Array, options?: { readonly timeoutMs?: number }): Promise<Uint8Array>;
  check(request: CheckRequestInit, options?: { readonly timeoutMs?: number }): Promise<CheckResponse>;
  fetchSecrets(resourceNames: readonly string[]): Promise<DiscoveryResponse>;
  streamSecrets(): SecretStream;
  /** Any call with streams both ways. */
  open<Response>(path: string, codec: Codec<Response, never>): ByteStream<Response>;
}

/** One call, driven step by step. */
export interface ByteStream<Response> {
  sendBytes(bytes: Uint8Array): void;
  /** The next response; rejects with the status that ended the stream. */
  next(): Promise<Response>;
  /** Responses that have come and were not taken yet. */
  readonly waiting: number;
  /** Stops reading, as an Envoy that hangs does. */
  pause(): void;
  resume(): void;
  /** Resolves with the status that ended the stream. */
  readonly ended: Promise<grpc.StatusObject>;
  cancel(): void;
}

/** One StreamSecrets call. */
export interface SecretStream extends ByteStream<DiscoveryResponse> {
  send(request: DiscoveryRequestInit): void;
  /** Acknowledges what came last. */
  ack(response: DiscoveryResponse, resourceNames: readonly string[]): void;
}

const raw = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

export function connect(
  address: string,
  credentials: grpc.ChannelCredentials = grpc.credentials.createInsecure(),
): RawClient {
  const client = new grpc.Client(address, credentials, {
    'grpc.default_authority': 'svidgate',
    'grpc.max_send_message_length': -1,
    'grpc.max_receive_message_length': -1,
    'grpc.use_local_subchannel_pool': 1,
  });
  const unary: RawClient['unary'] = (path, request, options) =>
    new Promise((resolve, reject) => {
      const deadline = Date.now() + (options?.timeoutMs ?? LIMIT_MS);
      client.makeUnaryRequest(
        path,
        raw,
        (bytes) => bytes,
        request,
        { deadline },
        (error, response) => (response === undefined ? reject(error ?? new Error('no answer')) : resolve(response)),
      );
    });
  return {
    unary,
    async check(request, options) {
      const bytes = encodeMessage(CheckRequest, request);
      return decodeMessage(CheckResponse, await unary(AUTHORIZATION_SERVICE.check.path, bytes, options), MAX_BYTES);
    },
    async fetchSecrets(resourceNames) {
      const bytes = encodeMessage(DiscoveryRequest, { resourceNames, typeUrl: SECRET_TYPE_URL });
      return decodeMessage(
        DiscoveryResponse,
        await unary(SECRET_DISCOVERY_SERVICE.fetchSecrets.path, bytes),
        MAX_BYTES,
      );
    },
    streamSecrets: () => openSecrets(client),
    open: (path, codec) => openStream(client, path, codec),
    [Symbol.dispose]: () => client.close(),
  };
}

function openSecrets(client: grpc.Client): SecretStream {
  const stream = openStream(client, SECRET_DISCOVERY_SERVICE.streamSecrets.path, DiscoveryResponse);
  const send: SecretStream['send'] = (request) =>
    stream.sendBytes(encodeMessage(DiscoveryRequest, { typeUrl: SECRET_TYPE_URL, ...request }));
  const ack: SecretStream['ack'] = (response, resourceNames) =>
    send({ resourceNames, versionInfo: response.versionInfo, responseNonce: response.nonce });
  return Object.defineProperties({ send, ack }, Object.getOwnPropertyDescriptors(stream)) as SecretStream;
}

function openStream<Response>(client: grpc.Client, path: string, codec: Codec<Response, never>): ByteStream<Response> {
  const call = client.makeBidiStreamRequest(path, raw, (bytes: Buffer) => decodeMessage(codec, bytes, MAX_BYTES));
  const arrived: Response[] = [];
  const takers: PromiseWithResolvers<Response>[] = [];
  let failure: Error | undefined;
  const ended = new Promise<grpc.StatusObject>((resolve) => call.on('status', resolve));
  call.on('data', (response: Response) => {
    const taker = takers.shift();
    if (taker === undefined) arrived.push(response);
    else taker.resolve(response);
  });
  call.on('error', (error) => {
    failure = error;
    for (const taker of takers.splice(0)) taker.reject(error);
  });
  return {
    sendBytes: (bytes) => void call.write(bytes),
    next() {
      const response = arrived.shift();
      if (response !== undefined) return Promise.resolve(response);
      if (failure !== undefined) return Promise.reject(failure);
      const taker = Promise.withResolvers<Response>();
      takers.push(taker);
      return taker.promise;
    },
    get waiting() {
      return arrived.length;
    },
    pause: () => call.pause(),
    resume: () => call.resume(),
    ended,
    cancel: () => call.cancel(),
  };
}
