import { constants } from 'node:fs';
import { copyFile, link, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { envoyPath } from '../../tools/setup/paths.mjs';
import type { YamlMap } from './envoy-bootstrap.ts';
import { startLoggedChild, type LoggedChild } from './logged-child.ts';
import { waitUntil } from './wait-until.ts';

export interface EnvoyOptions {
  /** Names the link, the configuration file and the log file. */
  readonly name: string;
  /** With an admin listener on a TCP address. */
  readonly bootstrap: YamlMap;
  /** Where links (`bin/`), configurations and logs (`log/`) go; also the working directory. */
  readonly dir: string;
  /** The executable, by default a link of its own, `linkEnvoy(dir, name)`: what `unix:path` sees. */
  readonly executable?: string;
  /** Time limit for being ready, by default 30 s. Ready means that all clusters, listeners and their secrets are there. */
  readonly readyWithinMs?: number;
}

/** What Envoy says of one certificate at /certs. */
export interface EnvoyCertificate {
  readonly serial: string;
  readonly uris: readonly string[];
}

export interface Envoy {
  readonly name: string;
  readonly pid: number;
  readonly executable: string;
  readonly adminUrl: string;
  readonly child: LoggedChild;
  /** GET of an admin path such as `/stats?filter=sds`. Throws unless the answer is 200. */
  admin(path: string): Promise<string>;
  /** The SVIDs in use, each once. */
  certs(): Promise<readonly EnvoyCertificate[]>;
  /** A counter or gauge; undefined when there is none of that name. */
  stat(name: string): Promise<number | undefined>;
  log(): string;
  stop(): Promise<void>;
}

/**
 * An Envoy executable at `dir`/bin/`name`: a hard link where the file system allows, else a copy, because a symbolic
 * link would show the caller's path of the file it points to. Of another Envoy where `binary` says so.
 */
export async function linkEnvoy(dir: string, name: string, binary = envoyPath()): Promise<string> {
  const target = join(dir, 'bin', name);
  await mkdir(join(dir, 'bin'), { recursive: true });
  await rm(target, { force: true });
  try {
    await link(binary, target);
  } catch {
    await copyFile(binary, target, constants.COPYFILE_FICLONE);
  }
  return target;
}

/** Starts an Envoy and waits until it is ready. Throws with the end of its log when it does not get there. */
export async function startEnvoy(options: EnvoyOptions): Promise<Envoy> {
  const envoy = await launchEnvoy(options);
  try {
    await waitUntil(`${envoy.name} to be ready`, options.readyWithinMs ?? 30_000, async () => {
      if (!envoy.child.isRunning()) return 'ended';
      return (await envoy.admin('/ready')) !== '' && 'ready';
    });
    if (!envoy.child.isRunning()) throw new Error(`${envoy.name} ended at its start`);
    return envoy;
  } catch (error) {
    await envoy.stop();
    throw new Error(`${(error as Error).message}\n${lastLines(envoy.log(), 15)}`, { cause: error });
  }
}

/** Starts an Envoy and waits for nothing: it may never become ready. */
export async function launchEnvoy(options: EnvoyOptions): Promise<Envoy> {
  const { name, bootstrap, dir } = options;
  const executable = options.executable ?? (await linkEnvoy(dir, `envoy-${name}`));
  const config = join(dir, `${name}.envoy.json`);
  await mkdir(join(dir, 'log'), { recursive: true });
  await writeFile(config, JSON.stringify(bootstrap, undefined, 2));
  const adminUrl = adminUrlOf(bootstrap);
  const child = startLoggedChild({
    name,
    command: executable,
    args: ['-c', config, '--disable-hot-restart', '--concurrency', '1', '--log-level', 'warning'],
    cwd: dir,
    logFile: join(dir, 'log', `${name}.log`),
  });
  const admin = async (path: string): Promise<string> => {
    const response = await fetch(`${adminUrl}${path}`, { signal: AbortSignal.timeout(5000) });
    const body = await response.text();
    if (!response.ok) throw new Error(`${name} answers ${response.status} at ${path}: ${body.trim()}`);
    return body;
  };
  return {
    name,
    pid: child.pid,
    executable,
    adminUrl,
    child,
    admin,
    certs: async () => certificatesOf(await admin('/certs')),
    stat: async (stat) => statOf(await admin('/stats?format=json'), stat),
    log: () => child.log(),
    stop: async () => {
      await child.stop();
    },
  };
}

/** The last lines of a log, each cut, for error messages. */
export function lastLines(text: string, count: number): string {
  const lines = text.trimEnd().split('\n').slice(-count);
  return lines.map((line) => (line.length <= 300 ? line : `${line.slice(0, 299)}…`)).join('\n');
}

function adminUrlOf(bootstrap: YamlMap): string {
  const { admin } = bootstrap as unknown as AdminBootstrap;
  const { address, port_value: port } = admin.address.socket_address;
  return `http://${address}:${port}`;
}

interface AdminBootstrap {
  readonly admin: {
    readonly address: { readonly socket_address: { readonly address: string; readonly port_value: number } };
  };
}

interface AdminCerts {
  readonly certificates?: readonly {
    readonly cert_chain?: readonly {
      readonly serial_number: string;
      readonly subject_alt_names?: readonly { readonly uri?: string }[];
    }[];
  }[];
}

function certificatesOf(body: string): readonly EnvoyCertificate[] {
  const { certificates = [] } = JSON.parse(body) as AdminCerts;
  const bySerial = new Map<string, EnvoyCertificate>();
  for (const { serial_number: serial, subject_alt_names: names = [] } of certificates.flatMap(
    (c) => c.cert_chain ?? [],
  )) {
    bySerial.set(serial, { serial, uris: names.flatMap(({ uri }) => (uri === undefined ? [] : [uri])) });
  }
  return [...bySerial.values()];
}

function statOf(body: string, name: string): number | undefined {
  const { stats } = JSON.parse(body) as {
    readonly stats: readonly { readonly name?: string; readonly value?: number }[];
  };
  return stats.find((stat) => stat.name === name)?.value;
}
