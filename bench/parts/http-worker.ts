/** Sends GET requests over kept-alive mTLS connections, one at a time on each. */
import { openHttp, type HttpConnection, type HttpTarget } from './http-connection.ts';
import { measureRound, type Round } from './measure.ts';
import { serveJobs } from './serve-jobs.ts';

export interface HttpLoad extends HttpTarget {
  readonly concurrency: number;
  readonly durationMs: number;
}

const connections = new Map<number, readonly HttpConnection[]>();

const jobs = {
  /** Connections are kept for the next round on the same port. Rejects unless every answer is 200. */
  async load(load: HttpLoad): Promise<Round> {
    const { port, concurrency } = load;
    const open =
      connections.get(port) ?? (await Promise.all(Array.from({ length: concurrency }, () => openHttp(load))));
    connections.set(port, open);
    let sent = 0;
    return measureRound(load, async (worker) => {
      sent += 1;
      const status = await open[worker]!.get(`/orders/${sent % 64}`);
      if (status !== 200) throw new Error(`answer ${status}`);
    });
  },
};

export type HttpJobs = typeof jobs;

serveJobs(jobs);
