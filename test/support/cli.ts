import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tempFolder, type TempFolder } from './temp-folder.ts';

const LAUNCHER = fileURLToPath(new URL('../../bin/svidgate.mjs', import.meta.url));

/** The program as users run it. Killed when it is disposed of. */
export interface SvidgateProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  /** Both outputs so far. */
  readonly output: { readonly out: string; readonly err: string };
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
}

/** `svidgate serve`. */
export interface ServeProcess extends SvidgateProcess {
  /** Resolves when it listens; rejects with its output when it ends before. */
  started(): Promise<void>;
}

export function svidgate(...args: readonly string[]): SvidgateProcess {
  const child = spawn(process.execPath, [LAUNCHER, ...args]);
  const output = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (output.out += piece));
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (output.err += piece));
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  return {
    child,
    output,
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

export function serve(folder: string, configName = 'svidgate.yaml'): ServeProcess {
  const program = svidgate('serve', '--config', join(folder, configName));
  const { child, output, ended } = program;
  return {
    ...program,
    async started() {
      while (!output.out.includes('"svidgate started"')) {
        const outcome = await Promise.race([ended, once(child.stdout ?? child, 'data')]);
        if (typeof outcome !== 'object') throw new Error(`ended with ${outcome}: ${output.out}${output.err}`);
      }
    },
  };
}

/** A folder with `svidgate.yaml`: data/, api.sock, no telemetry, and what `more` says. */
export async function configFolder(more = ''): Promise<TempFolder> {
  const folder = await tempFolder();
  await writeConfig(folder.path, 'svidgate.yaml', more);
  return folder;
}

/** Writes a configuration that differs from the usual one by the keys in `more`. */
export async function writeConfig(folder: string, name: string, more: string): Promise<void> {
  const usual = {
    data_dir: './data',
    workload_socket: './api.sock',
    admin: '{ socket: ./admin.sock }',
    telemetry: '{ listen: off }',
  };
  const lines = Object.entries(usual).filter(([key]) => !more.includes(`${key}:`));
  const text = ['trust_domain: example.test', ...lines.map(([key, value]) => `${key}: ${value}`), more, ''];
  await writeFile(join(folder, name), text.join('\n'));
}
