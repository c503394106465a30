/** The floor: @grpc/grpc-js alone, which answers every call with the same bytes and looks at nothing. */
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { AUTHORIZATION_SERVICE } from '../../src/proto/index.ts';
import { serveJobs } from './serve-jobs.ts';

const bytes = (buffer: Buffer): Buffer => buffer;

const jobs = {
  async listen({ address, reply }: { readonly address: string; readonly reply: Uint8Array }): Promise<void> {
    const answer = Buffer.from(reply);
    const server = new Server();
    const { path, requestStream, responseStream } = AUTHORIZATION_SERVICE.check;
    server.addService(
      {
        check: {
          path,
          requestStream,
          responseStream,
          requestSerialize: bytes,
          requestDeserialize: bytes,
          responseSerialize: bytes,
          responseDeserialize: bytes,
        },
      },
      {
        check: (_: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => callback(null, answer),
      },
    );
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve()));
    });
  },
};

export type EchoJobs = typeof jobs;

serveJobs(jobs);
