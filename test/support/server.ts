import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readConfig } from '../../src/config/index.ts';
import { silentLogger, type LogFields, type Logger } from '../../src/core/index.ts';
import { startServer, type RunningServer } from '../../src/server/index.ts';
import { tempFolder } from './temp-folder.ts';

export interface TestServer extends AsyncDisposable {
  readonly running: RunningServer;
  /** Its folder: svidgate.yaml, entries.yaml, data/, api.sock, authz.sock and what `files` put there. */
  readonly folder: string;
  readonly socket: string;
  readonly gate: string;
  /** Log lines as `message` with their fields. */
  readonly lines: (LogFields & { readonly message: string })[];
  /** Replaces a file of the folder. */
  write(name: string, text: string): Promise<void>;
  /** As `write`; gives its path. */
  file(name: string, text: string): Promise<string>;
}

export interface TestServerOptions {
  /** Text of entries.yaml. */
  readonly entries?: string;
  /** Further lines of svidgate.yaml. */
  readonly config?: string;
  readonly files?: Readonly<Record<string, string>>;
}

/** This test process, as an entry. */
export const OWN_SELECTOR = `unix:uid:${process.getuid?.() ?? -1}`;

export function entriesFor(...paths: readonly string[]): string {
  const entries = paths.map((path) => ({ spiffe_id: `spiffe://example.test${path}`, selectors: [OWN_SELECTOR] }));
  return JSON.stringify({ entries });
}

/** A whole server in this process, on sockets in a folder of its own. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const folder = await tempFolder();
  const write = async (name: string, text: string): Promise<void> => {
    const path = join(folder.path, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  };
  try {
    for (const [name, text] of Object.entries(options.files ?? {})) await write(name, text);
    await write('entries.yaml', options.entries ?? entriesFor('/test'));
    await write('svidgate.yaml', configText(options.config));
    const parsed = await readConfig(join(folder.path, 'svidgate.yaml'));
    if (parsed.mistakes !== undefined) throw new Error(JSON.stringify(parsed.mistakes));
    const lines: TestServer['lines'] = [];
    const running = await startServer(parsed.value, { logger: recordingLogger(lines, {}) });
    return {
      running,
      folder: folder.path,
      socket: `unix:${join(folder.path, 'api.sock')}`,
      gate: running.addresses.gate ?? '',
      lines,
      write,
      async file(name, text) {
        await write(name, text);
        return join(folder.path, name);
      },
      async [Symbol.asyncDispose]() {
        await running.stop('the test is over');
        await folder[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

/** The usual keys, but those that `more` has. */
function configText(more = ''): string {
  const usual = {
    trust_domain: 'example.test',
    data_dir: './data',
    workload_socket: './api.sock',
    admin: '{ socket: ./admin.sock }',
    entries: './entries.yaml',
    telemetry: '{ listen: 127.0.0.1:0 }',
  };
  const lines = Object.entries(usual).filter(([key]) => !new RegExp(`^${key}:`, 'm').test(more));
  return [...lines.map(([key, value]) => `${key}: ${value}`), patient(more), ''].join('\n');
}

/** A decision that a busy machine makes late is the same one: only tests of the time limit itself set it. */
function patient(more: string): string {
  return more.includes('eval_timeout') ? more : more.replace(/^authz:$/m, 'authz:\n  eval_timeout: 5s');
}

function recordingLogger(lines: TestServer['lines'], base: LogFields): Logger {
  const record = (fields: LogFields, message: string): void => void lines.push({ ...base, ...fields, message });
  return {
    ...silentLogger,
    info: record,
    warn: record,
    error: record,
    child: (fields) => recordingLogger(lines, { ...base, ...fields }),
  };
}
