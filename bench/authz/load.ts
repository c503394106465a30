import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { buildGoProgram } from '../../test/support/go-program.ts';
import { LOAD_CORE } from './peers.ts';

/** What one round gave. */
export interface LoadRound {
  readonly perSecond: number;
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

export interface LoadOptions {
  readonly protocol: 'grpc' | 'http';
  readonly address: string;
  readonly messages: readonly Uint8Array[];
  readonly inFlight: number;
  readonly forMs: number;
  /** What the client shows over TLS, PEM; HTTP only. */
  readonly tls?: { readonly chain: string; readonly key: string };
}

export interface LoadClient extends AsyncDisposable {
  /** Rejects when an answer was not an allow. */
  round(options: LoadOptions): Promise<LoadRound>;
}

/** bench/peers/check-load on one processor, by default alone on it but for Envoy. */
export async function startLoadClient(core = LOAD_CORE): Promise<LoadClient> {
  const program = await buildGoProgram(fileURLToPath(new URL('../peers/check-load', import.meta.url)));
  const child = spawn('taskset', ['-c', String(core), program], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, GOMAXPROCS: '1', GOGC: '1000' },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async round({ messages, ...options }) {
      const encoded = messages.map((message) => Buffer.from(message).toString('base64'));
      child.stdin.write(`${JSON.stringify({ ...options, messages: encoded })}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error('the load client ended');
      const outcome = JSON.parse(value) as LoadRound & { readonly failure?: string };
      if (outcome.failure !== undefined) throw new Error(`${options.address}: ${outcome.failure}`);
      return outcome;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}
