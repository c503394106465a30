import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { baoPath } from '../../tools/setup/paths.mjs';
import { lastLines } from './envoy.ts';
import { startLoggedChild, type LoggedChild } from './logged-child.ts';
import { tempFolder } from './temp-folder.ts';
import { waitUntil } from './wait-until.ts';

const run = promisify(execFile);

type Json = Readonly<Record<string, unknown>>;

/** A real OpenBao with data of its own. It keeps them over a restart, which a server in dev mode does not. */
export interface OpenBao extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`; https with `tls`. */
  readonly address: string;
  readonly rootToken: string;
  /** With `tls`: the CA of its certificate. */
  readonly caFile: string | undefined;
  /** Calls `/v1/PATH` as root and gives the answer's `data`, or its `auth`. Throws unless the status is 2xx. */
  call(method: 'DELETE' | 'GET' | 'LIST' | 'POST', path: string, body?: Json): Promise<Json>;
  stop(): Promise<void>;
  /** On the same port, with the same data. `sealed` leaves it as it comes up, unable to do anything. */
  start(options?: { readonly sealed?: boolean }): Promise<void>;
  unseal(): Promise<void>;
  /** It keeps its connections and answers nothing, as behind a network that drops packets. */
  freeze(): void;
  thaw(): void;
}

/** Starts a server and gets it ready to use: initialised, unsealed, active. Throws with the end of its log otherwise. */
export async function startOpenBao(options: { readonly tls?: boolean } = {}): Promise<OpenBao> {
  const folder = await tempFolder();
  try {
    const server = await Server.create(folder.path, options.tls ?? false);
    try {
      await server.start({ sealed: true });
      await server.initialise();
      await server.unseal();
    } catch (error) {
      await server.stop();
      throw new Error(`${(error as Error).message}\n${server.logTail()}`, { cause: error });
    }
    return Object.assign(server, {
      async [Symbol.asyncDispose]() {
        await server.stop();
        await folder[Symbol.asyncDispose]();
      },
    });
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

class Server {
  readonly address: string;
  readonly caFile: string | undefined;
  readonly #folder: string;
  #rootToken = '';
  #unsealKey = '';
  #child: LoggedChild | undefined;

  private constructor(folder: string, address: string, caFile: string | undefined) {
    this.#folder = folder;
    this.address = address;
    this.caFile = caFile;
  }

  static async create(folder: string, tls: boolean): Promise<Server> {
    const file = (name: string): string => join(folder, name);
    const [port, clusterPort] = await freePorts(2);
    if (tls) await makeCertificate(folder);
    const address = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
    await mkdir(file('data'));
    const listener = tls
      ? { tls_cert_file: file('server.pem'), tls_key_file: file('server.key') }
      : { tls_disable: true };
    const config = {
      storage: { raft: { path: file('data'), node_id: 'only', performance_multiplier: 1 } },
      listener: [{ tcp: { address: `127.0.0.1:${port}`, ...listener } }],
      api_addr: address,
      cluster_addr: `https://127.0.0.1:${clusterPort}`,
      log_level: 'warn',
    };
    await writeFile(file('config.json'), JSON.stringify(config));
    return new Server(folder, address, tls ? file('server.pem') : undefined);
  }

  get rootToken(): string {
    return this.#rootToken;
  }

  async start({ sealed = false }: { readonly sealed?: boolean } = {}): Promise<void> {
    const child = startLoggedChild({
      name: 'openbao',
      command: baoPath(),
      args: ['server', `-config=${join(this.#folder, 'config.json')}`],
      cwd: this.#folder,
      logFile: join(this.#folder, 'log'),
    });
    this.#child = child;
    await waitUntil('OpenBao to listen', 20_000, async () => {
      if (!child.isRunning()) throw new Error('it ended at its start');
      return (await this.#send('GET', 'sys/health')).status !== 0;
    });
    if (!sealed) await this.unseal();
  }

  async initialise(): Promise<void> {
    const { keys, root_token: token } = await this.#answer('POST', 'sys/init', {
      secret_shares: 1,
      secret_threshold: 1,
    });
    this.#unsealKey = (keys as readonly string[])[0] ?? '';
    this.#rootToken = token as string;
  }

  async unseal(): Promise<void> {
    await this.#answer('POST', 'sys/unseal', { key: this.#unsealKey });
    await waitUntil('OpenBao to be active', 20_000, async () => (await this.#send('GET', 'sys/health')).status === 200);
  }

  async stop(): Promise<void> {
    this.thaw();
    await this.#child?.stop();
  }

  freeze(): void {
    this.#signal('SIGSTOP');
  }

  thaw(): void {
    this.#signal('SIGCONT');
  }

  async call(method: string, path: string, body?: Json): Promise<Json> {
    const answer = await this.#answer(method, path, body);
    return (answer['data'] ?? answer['auth'] ?? {}) as Json;
  }

  logTail(): string {
    return this.#child === undefined ? '' : lastLines(this.#child.log(), 15);
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child?.isRunning() === true) process.kill(this.#child.pid, signal);
  }

  async #answer(method: string, path: string, body?: Json): Promise<Json> {
    const { status, text } = await this.#send(method, path, body);
    if (status < 200 || status > 299) throw new Error(`OpenBao answers ${method} ${path} with ${status}: ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Json);
  }

  async #send(method: string, path: string, body?: Json): Promise<{ readonly status: number; readonly text: string }> {
    const headers = { 'x-vault-token': this.#rootToken, connection: 'close' };
    const url = `${this.address}/v1/${path}`;
    return await new Promise((resolve, reject) => {
      const options = { method, headers, timeout: 10_000, rejectUnauthorized: false };
      const call = (this.caFile === undefined ? httpRequest : httpsRequest)(url, options, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text })).on('error', reject);
      });
      call.on('error', reject).on('timeout', () => call.destroy(new Error('OpenBao does not answer')));
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** Taken from the kernel and given free again: another process could take one before the server does. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports.push((server.address() as AddressInfo).port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

async function makeCertificate(folder: string): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'server.key'];
  const name = ['-subj', '/CN=openbao', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2'];
  await run('openssl', ['req', '-x509', ...key, ...name, '-out', 'server.pem'], { cwd: folder });
}
