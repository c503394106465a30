/** The floor: @grpc/grpc-js alone, which answers each SDS stream with the same bytes, pushes them to all, and looks at nothing. */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { SECRET_DISCOVERY_SERVICE } from '../../src/proto/index.ts';
import { serveJobs } from './serve-jobs.ts';

/** About what is signed for a leaf: the certificate without its signature. */
const TBS_BYTES = 450;

/** As many connections as our server lets wait. */
const BACKLOG = 4096;

const bytes = (buffer: Buffer): Buffer => buffer;

type Stream = ServerDuplexStream<Buffer, Buffer>;

const streams = new Set<Stream>();
const ca = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const content = randomBytes(TBS_BYTES);
let answer = Buffer.alloc(0);

const jobs = {
  async listen(socket: string): Promise<void> {
    const server = new Server();
    const { path, requestStream, responseStream } = SECRET_DISCOVERY_SERVICE.streamSecrets;
    const streamSecrets = {
      path,
      requestStream,
      responseStream,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    };
    server.addService({ streamSecrets }, { streamSecrets: serve });
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    const listener = createServer({ noDelay: true }, (socket) => injector.injectConnection(socket));
    listener.listen({ path: socket, backlog: BACKLOG });
    await once(listener, 'listening');
  },
  /** What is answered and pushed from now on. */
  async hold(reply: Uint8Array): Promise<void> {
    answer = Buffer.from(reply);
  },
  async push({ signs }: { readonly signs: boolean }): Promise<void> {
    for (const stream of streams) {
      if (signs) {
        generateKeyPairSync('ec', { namedCurve: 'P-256' });
        sign('sha256', content, ca.privateKey);
      }
      stream.write(answer);
    }
  },
};

export type PushJobs = typeof jobs;

serveJobs(jobs);

function serve(stream: Stream): void {
  streams.add(stream);
  const forget = (): void => void streams.delete(stream);
  stream.once('data', () => stream.write(answer));
  // What comes later acknowledges; reading it is a part of the floor.
  stream.on('data', () => undefined);
  stream.on('end', forget).on('cancelled', forget).on('error', forget);
}
