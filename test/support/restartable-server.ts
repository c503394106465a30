import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readConfig } from '../../src/config/index.ts';
import { silentLogger, type Clock, type LogFields, type Logger } from '../../src/core/index.ts';
import { startServer, type RunningServer } from '../../src/server/index.ts';
import { tempFolder } from './temp-folder.ts';

/** A whole server in this process that is stopped and started again on the same folder. */
export interface RestartableServer extends AsyncDisposable {
  readonly folder: string;
  /** `unix:PATH` of the Workload API and SDS. */
  readonly socket: string;
  readonly gate: string;
  /** Log lines of all its starts. */
  readonly lines: readonly (LogFields & { readonly message: string; readonly level: string })[];
  write(name: string, text: string): Promise<void>;
  /** Throws what startServer throws. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** The value of a metric, with its labels as they are rendered; 0 when it is not there. */
  metric(name: string): Promise<number>;
  /** `/ready`, say, of the telemetry listener. */
  telemetry(path: string): Promise<Response>;
}

export interface RestartableServerOptions {
  readonly clock?: Clock;
  /** Further lines of svidgate.yaml. */
  readonly config?: string;
  readonly files?: Readonly<Record<string, string>>;
  /** The folder, which is not removed at the end. Default: one of its own. */
  readonly folder?: string;
}

/** Not started yet. */
export async function restartableServer(options: RestartableServerOptions = {}): Promise<RestartableServer> {
  const own = options.folder === undefined ? await tempFolder() : undefined;
  const folder = options.folder ?? own?.path ?? '';
  const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text, { mode: 0o600 });
  const usual = `trust_domain: example.test
${/^data_dir:/m.test(options.config ?? '') ? '' : 'data_dir: ./data'}
workload_socket: ./api.sock
admin: { socket: ./admin.sock }
telemetry: { listen: 127.0.0.1:0 }
`;
  await write('svidgate.yaml', usual + (options.config ?? ''));
  for (const [name, text] of Object.entries(options.files ?? {})) await write(name, text);
  const lines: (LogFields & { message: string; level: string })[] = [];
  let running: RunningServer | undefined;
  const telemetry = (path: string): Promise<Response> => fetch(`http://${running?.addresses.telemetry ?? ''}${path}`);
  const stop = async (): Promise<void> => {
    await running?.stop('told by the test');
    running = undefined;
  };
  return {
    folder,
    socket: `unix:${join(folder, 'api.sock')}`,
    gate: `unix:${join(folder, 'authz.sock')}`,
    lines,
    write,
    stop,
    async start() {
      const { value, mistakes } = await readConfig(join(folder, 'svidgate.yaml'));
      if (value === undefined) throw new Error(JSON.stringify(mistakes));
      const { clock } = options;
      running = await startServer(value, { logger: loggerTo(lines, {}), ...(clock === undefined ? {} : { clock }) });
    },
    telemetry,
    async metric(name) {
      const response = await telemetry('/metrics');
      const line = (await response.text()).split('\n').find((text) => text.startsWith(`${name} `));
      return Number(line?.slice(name.length + 1) ?? 0);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await own?.[Symbol.asyncDispose]();
    },
  };
}

function loggerTo(lines: (LogFields & { message: string; level: string })[], base: LogFields): Logger {
  const at =
    (level: string) =>
    (fields: LogFields, message: string): void =>
      void lines.push({ ...base, ...fields, message, level });
  return {
    ...silentLogger,
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => loggerTo(lines, { ...base, ...fields }),
  };
}
