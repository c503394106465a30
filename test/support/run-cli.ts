import { join } from 'node:path';
import { runCli } from '../../src/cli/index.ts';

/** How one command line ended. */
export interface CliRun {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command in this process. */
export async function cli(...args: readonly string[]): Promise<CliRun> {
  let [out, err] = ['', ''];
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out, err };
}

/** The commands of one server. Each finds it by its configuration. */
export interface ServerCli {
  (...args: readonly string[]): Promise<CliRun>;
  /** The result as JSON. Fails when the command does. */
  json(...args: readonly string[]): Promise<unknown>;
  /** The result as text. Fails when the command does. */
  text(...args: readonly string[]): Promise<string>;
}

/** The commands of the server whose `svidgate.yaml` is in the folder. */
export function cliOf({ folder }: { readonly folder: string }): ServerCli {
  const run = (...args: readonly string[]): Promise<CliRun> => cli(...args, '--config', join(folder, 'svidgate.yaml'));
  const text = async (...args: readonly string[]): Promise<string> => {
    const { code, out, err } = await run(...args);
    if (code !== 0 || err !== '') throw new Error(`svidgate ${args.join(' ')} ended with ${code}: ${err}`);
    return out;
  };
  const json = async (...args: readonly string[]): Promise<unknown> => {
    return JSON.parse(await text(...args, '--output', 'json')) as unknown;
  };
  return Object.assign(run, { text, json });
}
