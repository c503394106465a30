import { join } from 'node:path';
import { NODE_FLAGS } from '../../bin/node-flags.mjs';
import { startLoggedChild, type ChildExit, type LoggedChild } from '../../test/support/logged-child.ts';
import { waitUntil } from '../../test/support/wait-until.ts';
import { nodePath, root } from '../setup/paths.mjs';

/** The server of a run: it can be stopped and started again on the same folder. */
export interface SvidgateProcess {
  /** The last one started; undefined before the first. */
  readonly child: LoggedChild | undefined;
  readonly telemetryUrl: string;
  /** Starts it and waits until /ready says so, 30 s by default. Gives the milliseconds that took. */
  start(readyWithinMs?: number): Promise<number>;
  stop(signal: NodeJS.Signals): Promise<ChildExit>;
  /** The value of one metric line, such as `svidgate_entries`, by its name with labels. 0 when there is none. */
  metric(nameWithLabels: string): Promise<number>;
  /** The whole /metrics page. */
  metrics(): Promise<string>;
}

const READY_WITHIN_MS = 30_000;

export function createSvidgateProcess(dir: string, telemetryUrl: string): SvidgateProcess {
  let child: LoggedChild | undefined;
  const metrics = async (): Promise<string> => {
    const response = await fetch(`${telemetryUrl}/metrics`, { signal: AbortSignal.timeout(5000) });
    return response.text();
  };
  return {
    get child() {
      return child;
    },
    telemetryUrl,
    async start(readyWithinMs = READY_WITHIN_MS) {
      const begin = performance.now();
      const started = startLoggedChild({
        name: 'svidgate',
        command: nodePath(),
        args: [...NODE_FLAGS, join(root, 'src/cli/main.ts'), 'serve', '--config', join(dir, 'svidgate.yaml')],
        cwd: dir,
        logFile: join(dir, 'log/svidgate.log'),
      });
      child = started;
      await waitUntil('svidgate to be ready', readyWithinMs, async () => {
        if (!started.isRunning()) return true;
        const response = await fetch(`${telemetryUrl}/ready`, { signal: AbortSignal.timeout(2000) });
        await response.body?.cancel();
        return response.ok;
      });
      if (!started.isRunning()) throw new Error('svidgate ended at its start');
      return performance.now() - begin;
    },
    async stop(signal) {
      if (child === undefined) throw new Error('svidgate was not started');
      return child.stop(signal, 10_000);
    },
    metrics,
    async metric(nameWithLabels) {
      const line = (await metrics()).split('\n').find((text) => text.startsWith(`${nameWithLabels} `));
      return line === undefined ? 0 : Number(line.slice(nameWithLabels.length + 1));
    },
  };
}
