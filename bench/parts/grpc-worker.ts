/** Our gRPC server alone: every call is answered with the same bytes, nobody is attested. */
import { noMetrics, silentLogger } from '../../src/core/index.ts';
import { AUTHORIZATION_SERVICE } from '../../src/proto/index.ts';
import { startGrpcServer } from '../../src/transport/index.ts';
import { serveJobs } from './serve-jobs.ts';

export interface PlainServer {
  /** Where the socket shall be. */
  readonly socket: string;
  readonly anyAuthority: boolean;
  readonly reply: Uint8Array;
}

const jobs = {
  async listen({ socket, anyAuthority, reply }: PlainServer): Promise<void> {
    const answer = Promise.resolve(reply);
    await startGrpcServer({
      name: 'bench',
      address: { kind: 'unix', path: socket, mode: 0o700 },
      methods: [{ kind: 'unary', path: AUTHORIZATION_SERVICE.check.path, handle: () => answer }],
      identify: () => ({ pid: 1, uid: 1, gid: 1, exited: new AbortController().signal, close: () => undefined }),
      maxMessageBytes: 1024 * 1024,
      anyAuthority,
      logger: silentLogger,
      metrics: noMetrics,
    });
  },
};

export type GrpcJobs = typeof jobs;

serveJobs(jobs);
