import { Agent } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { waitUntil } from '../../test/support/wait-until.ts';
import { call, type Call, type Endpoint } from './http.ts';

/** One answer of a load: when it came, in milliseconds of performance.now(), and its status; 0 when none came. */
export interface Sample {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly status: number;
  /** What went wrong when no answer came. */
  readonly error?: string;
}

export interface Load {
  /** In the order of their ends. */
  readonly samples: readonly Sample[];
  /** Resolves when there are so many samples; rejects when that takes longer than 20 s. */
  reaches(count: number): Promise<void>;
  /** Ends after the requests in flight. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  readonly endpoint: Endpoint;
  readonly call: Call;
  readonly workers: number;
  /** Between the answer and the next request of a worker. */
  readonly pauseMs: number;
}

/** Sends the same request again and again over kept-alive connections until it is stopped. Repeats nothing that failed. */
export function startLoad({ endpoint, call: request, workers, pauseMs }: LoadOptions): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: workers });
  const samples: Sample[] = [];
  const stop = new AbortController();
  const work = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const startedAt = performance.now();
      try {
        const { status } = await call(endpoint, request, agent);
        samples.push({ startedAt, endedAt: performance.now(), status });
      } catch (error) {
        samples.push({ startedAt, endedAt: performance.now(), status: 0, error: (error as Error).message });
      }
      await pause(pauseMs);
    }
  };
  const working = Promise.all(Array.from({ length: workers }, work));
  return {
    samples,
    async reaches(count) {
      await waitUntil(`${count} requests`, 20_000, () => samples.length >= count);
    },
    async stop() {
      stop.abort();
      await working;
      agent.destroy();
    },
  };
}

/** How often each status came, such as `200 × 412, 403 × 3`. */
export function countStatuses(samples: readonly Sample[]): string {
  const counts = new Map<string, number>();
  for (const { status, error } of samples) {
    const key = status === 0 ? (error ?? 'no answer') : String(status);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([status, count]) => `${status} × ${count}`).join(', ') || 'none';
}
