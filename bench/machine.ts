import { execFile } from 'node:child_process';
import { cpus, loadavg, release } from 'node:os';
import { promisify } from 'node:util';
import { envoyPath } from '../tools/setup/paths.mjs';

/** The machine and what runs on it, in one line. The load is that of the last minute, before the run. */
export async function describeMachine(): Promise<string> {
  const processors = cpus();
  const model = processors[0]?.model.replaceAll(/\s+/g, ' ').trim() ?? 'unknown processor';
  const load = (loadavg()[0] ?? 0).toFixed(2);
  const parts = [
    model,
    `${processors.length} cores`,
    `Linux ${/^\d+\.\d+/.exec(release())?.[0]}`,
    `load ${load} before`,
  ];
  return [...parts, `Node ${process.versions.node}`, `Envoy ${await envoyVersion()}`].join(', ');
}

async function envoyVersion(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(envoyPath(), ['--version'], { timeout: 10_000 });
    return /\/(\d+\.\d+\.\d+)[^/]*\//.exec(stdout)?.[1] ?? 'of unknown version';
  } catch {
    return 'not installed';
  }
}
