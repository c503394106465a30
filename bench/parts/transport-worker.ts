/** A gRPC server of the transport room that answers every call with the same bytes: the one on grpc-js, or that of the gate. */
import { noMetrics, silentLogger } from '../../src/core/index.ts';
import { AUTHORIZATION_SERVICE } from '../../src/proto/index.ts';
import { startGrpcServer, startWireServer } from '../../src/transport/index.ts';
import { serveJobs } from './serve-jobs.ts';

export interface TransportServer {
  /** Path of its Unix socket. */
  readonly path: string;
  readonly library: 'grpc-js' | 'node:http2';
  readonly anyAuthority: boolean;
}

const REPLY = Buffer.alloc(64);

const jobs = {
  async listen({ path, library, anyAuthority }: TransportServer): Promise<void> {
    const start = library === 'grpc-js' ? startGrpcServer : startWireServer;
    await start({
      name: 'bench',
      address: { kind: 'unix', path, mode: 0o700 },
      methods: [{ kind: 'unary', path: AUTHORIZATION_SERVICE.check.path, handle: () => Promise.resolve(REPLY) }],
      identify: () => ({ pid: 1, uid: 1, gid: 1, exited: new AbortController().signal, close: () => undefined }),
      maxMessageBytes: 2 ** 20,
      anyAuthority,
      logger: silentLogger,
      metrics: noMetrics,
    });
  },
};

export type TransportJobs = typeof jobs;

serveJobs(jobs);
