import * as grpc from '@grpc/grpc-js';
import {
  decodeMessage,
  encodeMessage,
  JwtBundlesResponse,
  JwtSvidRequest,
  JwtSvidResponse,
  ValidateJwtSvidRequest,
  ValidateJwtSvidResponse,
  WORKLOAD_API_SERVICE,
  X509BundlesResponse,
  X509SvidResponse,
  type Codec,
  type JwtSvidRequestInit,
  type ValidateJwtSvidRequestInit,
} from '../../src/proto/index.ts';

const MAX_BYTES = 64 * 1024 * 1024;
const LIMIT_MS = 20_000;

/** A status in short: its name and text, or OK. */
export type Ending = readonly [code: string, details: string];

/** A stream of the Workload API, driven step by step. */
export interface AnswerStream<Answer> {
  /** The next answer; rejects with the status that ended the stream. */
  next(): Promise<Answer>;
  readonly ended: Promise<Ending>;
  /** Answers that have come and were not taken. */
  readonly waiting: number;
  cancel(): void;
  pause(): void;
  resume(): void;
}

export interface WorkloadClient extends Disposable {
  x509Svids(): AnswerStream<X509SvidResponse>;
  x509Bundles(): AnswerStream<X509BundlesResponse>;
  jwtBundles(): AnswerStream<JwtBundlesResponse>;
  jwtSvids(request: JwtSvidRequestInit): Promise<JwtSvidResponse>;
  validate(request: ValidateJwtSvidRequestInit): Promise<ValidateJwtSvidResponse>;
  /** Any call with any bytes. */
  unary(path: string, request: Uint8Array): Promise<Uint8Array>;
  stream(path: string, request?: Uint8Array): AnswerStream<Uint8Array>;
}

const raw = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

/** @param headers of each call; by default the security header */
export function connectWorkload(
  address: string,
  headers: readonly (readonly [string, string])[] = [['workload.spiffe.io', 'true']],
): WorkloadClient {
  const client = new grpc.Client(address, grpc.credentials.createInsecure(), {
    'grpc.default_authority': 'svidgate',
    'grpc.max_receive_message_length': -1, // thousands of identities of one caller, each with its bundle
    'grpc.use_local_subchannel_pool': 1,
  });
  const metadata = new grpc.Metadata();
  for (const [name, value] of headers) metadata.add(name, value);
  const stream = <Answer>(path: string, request: Uint8Array, decode: (bytes: Buffer) => Answer): AnswerStream<Answer> =>
    answersOf(client.makeServerStreamRequest(path, raw, decode, request, metadata));
  const decoder =
    <Answer>(codec: Codec<Answer, never>) =>
    (bytes: Buffer): Answer =>
      decodeMessage(codec, bytes, MAX_BYTES);
  const unary: WorkloadClient['unary'] = (path, request) =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + LIMIT_MS };
      const done: grpc.requestCallback<Buffer> = (error, answer) =>
        answer === undefined ? reject(error ?? new Error('no answer')) : resolve(answer);
      client.makeUnaryRequest(path, raw, (bytes) => bytes, request, metadata, options, done);
    });
  const { fetchX509Svid, fetchX509Bundles, fetchJwtBundles, fetchJwtSvid, validateJwtSvid } = WORKLOAD_API_SERVICE;
  const nothing = new Uint8Array();
  return {
    x509Svids: () => stream(fetchX509Svid.path, nothing, decoder(X509SvidResponse)),
    x509Bundles: () => stream(fetchX509Bundles.path, nothing, decoder(X509BundlesResponse)),
    jwtBundles: () => stream(fetchJwtBundles.path, nothing, decoder(JwtBundlesResponse)),
    jwtSvids: async (request) =>
      decodeMessage(JwtSvidResponse, await unary(fetchJwtSvid.path, encodeMessage(JwtSvidRequest, request)), MAX_BYTES),
    validate: async (request) => {
      const bytes = await unary(validateJwtSvid.path, encodeMessage(ValidateJwtSvidRequest, request));
      return decodeMessage(ValidateJwtSvidResponse, bytes, MAX_BYTES);
    },
    unary,
    stream: (path, request = nothing) => stream(path, request, (bytes) => bytes),
    [Symbol.dispose]: () => client.close(),
  };
}

/** The status that a call was refused with. */
export async function refusalOf(call: Promise<unknown>): Promise<Ending> {
  try {
    await call;
  } catch (error) {
    return endingOf(error as grpc.ServiceError);
  }
  throw new Error('the call was answered');
}

function endingOf({ code, details }: { readonly code: grpc.status; readonly details: string }): Ending {
  return [grpc.status[code] ?? '', details];
}

function answersOf<Answer>(call: grpc.ClientReadableStream<Answer>): AnswerStream<Answer> {
  const arrived: Answer[] = [];
  const takers: PromiseWithResolvers<Answer>[] = [];
  let failure: Error | undefined;
  const ended = new Promise<Ending>((resolve) => call.on('status', (status) => resolve(endingOf(status))));
  call.on('data', (answer: Answer) => {
    const taker = takers.shift();
    if (taker === undefined) arrived.push(answer);
    else taker.resolve(answer);
  });
  call.on('error', (error) => {
    failure = error;
    for (const taker of takers.splice(0)) taker.reject(error);
  });
  return {
    next() {
      const answer = arrived.shift();
      if (answer !== undefined) return Promise.resolve(answer);
      if (failure !== undefined) return Promise.reject(failure);
      const taker = Promise.withResolvers<Answer>();
      takers.push(taker);
      return taker.promise;
    },
    ended,
    get waiting() {
      return arrived.length;
    },
    cancel: () => call.cancel(),
    pause: () => call.pause(),
    resume: () => call.resume(),
  };
}
