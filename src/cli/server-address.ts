import { resolve } from 'node:path';
import { readConfig, configInvalid, type Config } from '../config/index.ts';
import { wrongUsage, type ServerOptions } from './command-line.ts';

/** Path of the admin socket. Throws `config_invalid` when nothing names it. */
export async function adminSocket(options: ServerOptions): Promise<string> {
  if (options.socket !== undefined) return socketPath(options.socket);
  return (await configOf(options)).admin.socket;
}

/** Path of the socket of the Workload API; SPIFFE_ENDPOINT_SOCKET stands behind what the command line names. */
export async function workloadSocket(options: ServerOptions): Promise<string> {
  if (options.socket !== undefined) return socketPath(options.socket);
  const standard = process.env['SPIFFE_ENDPOINT_SOCKET'];
  if (options.config === undefined && standard !== undefined) return socketPath(standard);
  return (await configOf(options)).workloadSocket;
}

/** The configuration of the server. Throws `config_invalid` with every mistake in it. */
export async function configOf({ config }: ServerOptions): Promise<Config> {
  if (config === undefined) {
    const message =
      'which svidgate? Name its configuration with --config FILE or SVIDGATE_CONFIG, or its socket with --socket PATH';
    throw wrongUsage(message);
  }
  const parsed = await readConfig(config);
  if (parsed.mistakes !== undefined) throw configInvalid(parsed.mistakes);
  return parsed.value;
}

/** As gRPC and SPIFFE write it, too: unix:PATH, unix:///PATH. */
function socketPath(text: string): string {
  const path = text.replace(/^unix:(?:\/\/(?=\/))?/, '');
  if (path === '' || /^[a-z]+:\/\//.test(path)) {
    throw wrongUsage(`${JSON.stringify(text)} is no path of a Unix socket`);
  }
  return resolve(path);
}
