/** A gRPC client that asks for decisions over one connection, as an Envoy worker does. */
import { AUTHORIZATION_SERVICE, CheckResponse, decodeMessage, structToJson } from '../../src/proto/index.ts';
import { connect, type RawClient } from '../../test/support/grpc-client.ts';
import { measureRound, type Round } from './measure.ts';
import { serveJobs } from './serve-jobs.ts';

export interface CheckLoad {
  readonly address: string;
  readonly requests: readonly Uint8Array[];
  /** Length of the right answer: a deny is longer. Anything else ends the round with an error. */
  readonly replyBytes: number;
  readonly concurrency: number;
  readonly durationMs: number;
}

const clients = new Map<string, RawClient>();

const jobs = {
  async load({ address, requests, replyBytes, ...pace }: CheckLoad): Promise<Round> {
    const client = clients.get(address) ?? connect(address);
    clients.set(address, client);
    let next = 0;
    return measureRound(pace, async () => {
      next = (next + 1) % requests.length;
      const reply = await client.unary(AUTHORIZATION_SERVICE.check.path, requests[next]!);
      if (reply.length !== replyBytes) throw new Error(`an allowed request was answered otherwise: ${describe(reply)}`);
    });
  },
};

export type CheckJobs = typeof jobs;

serveJobs(jobs);

function describe(reply: Uint8Array): string {
  const { status, dynamicMetadata } = decodeMessage(CheckResponse, reply, 1024 * 1024);
  const facts = dynamicMetadata === null ? {} : structToJson(dynamicMetadata);
  return `code ${status?.code}, ${JSON.stringify(facts['reason'])}`;
}
