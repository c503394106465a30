/** A gRPC server of the transport room that answers every call with the same bytes, with or without `anyAuthority`. */
import { noMetrics, silentLogger } from '../../src/core/index.ts';
import { AUTHORIZATION_SERVICE } from '../../src/proto/index.ts';
import { startGrpcServer } from '../../src/transport/index.ts';
import { serveJobs } from './serve-jobs.ts';

export interface AuthorityServer {
  /** Path of its Unix socket. */
  readonly path: string;
  readonly anyAuthority: boolean;
}

const REPLY = Buffer.alloc(64);

const jobs = {
  async listen({ path, anyAuthority }: AuthorityServer): Promise<void> {
    await startGrpcServer({
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

export type AuthorityJobs = typeof jobs;

serveJobs(jobs);
