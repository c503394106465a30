import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { NODE_FLAGS } from '../../bin/node-flags.mjs';
import { nodePath, root } from '../../tools/setup/paths.mjs';
import { startLoggedChild, type ChildExit, type LoggedChild } from '../support/logged-child.ts';
import { waitUntil } from '../support/wait-until.ts';

/** What the process holds at one moment, without garbage and without what the allocator keeps for later. */
export interface Vitals {
  readonly atMs: number;
  readonly residentMb: number;
  /** Of the main thread: its heap, and buffers outside of it. */
  readonly heapMb: number;
  readonly descriptors: number;
  readonly threads: number;
  readonly logBytes: number;
}

/** The server as users run it, a process of its own, with a look into its memory. */
export interface SoakServer extends AsyncDisposable {
  readonly child: LoggedChild;
  vitals(): Promise<Vitals>;
  stop(): Promise<ChildExit>;
}

const MB = 1e6;
const READY_MS = 60_000;
const LOOK_MS = 20_000;

export async function startSoakServer(folder: string): Promise<SoakServer> {
  const memoryFile = join(folder, 'memory.json');
  const logFile = join(folder, 'svidgate.log');
  const probe = pathToFileURL(join(root, 'test/soak/memory-probe.mjs')).href;
  const child = startLoggedChild({
    name: 'svidgate',
    command: nodePath(),
    args: [
      ...NODE_FLAGS,
      '--expose-gc',
      `--import=${probe}`,
      join(root, 'src/cli/main.ts'),
      'serve',
      '--config',
      join(folder, 'svidgate.yaml'),
    ],
    cwd: folder,
    logFile,
    env: { SVIDGATE_MEMORY_FILE: memoryFile },
  });
  try {
    await waitUntil(
      'svidgate to start',
      READY_MS,
      () => !child.isRunning() || child.log().includes('svidgate started'),
    );
    if (!child.isRunning()) throw new Error(`svidgate ended at its start: ${child.log().slice(-2000)}`);
  } catch (error) {
    await child.stop('SIGKILL');
    throw error;
  }
  return {
    child,
    async vitals() {
      await rm(memoryFile, { force: true });
      process.kill(child.pid, 'SIGUSR2');
      const text = await waitUntil('the memory of svidgate', LOOK_MS, () => readFile(memoryFile, 'utf8'));
      const memory = JSON.parse(text) as NodeJS.MemoryUsage;
      const [descriptors, threads, { size }] = await Promise.all([
        readdir(`/proc/${child.pid}/fd`),
        readdir(`/proc/${child.pid}/task`),
        stat(logFile),
      ]);
      return {
        atMs: performance.now(),
        residentMb: memory.rss / MB,
        heapMb: (memory.heapUsed + memory.external) / MB,
        descriptors: descriptors.length,
        threads: threads.length,
        logBytes: size,
      };
    },
    stop: () => child.stop('SIGTERM', 20_000),
    [Symbol.asyncDispose]: async () => {
      await child.stop('SIGKILL');
    },
  };
}

/** SVIDs, CAs and tokens that end while it runs; no time limit that a busy machine would meet. */
export async function writeSoakConfig(folder: string, trustDomain: string): Promise<void> {
  await writeFile(
    join(folder, 'svidgate.yaml'),
    `trust_domain: ${trustDomain}
data_dir: ./data
workload_socket: ./api.sock
admin: { socket: ./admin.sock }
entries: ./entries.yaml
authority: { ca_ttl: 4m, x509_svid_ttl: 60s, jwt_svid_ttl: 20s }
authz:
  listen: unix:./authz.sock
  deny_unregistered: true
  eval_timeout: 5s
  jwt_svid: { audiences: [orders] }
  policies:
    default: { path: ./first }
    second: { path: ./second, entrypoint: second/allow }
telemetry: { listen: off }
`,
  );
}
