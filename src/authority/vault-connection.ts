import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { getCACertificates } from 'node:tls';
import { SvidgateError } from '../core/index.ts';
import { readSecret } from './key-managers/secret-source.ts';
import { readTextFile } from './read-text-file.ts';

export type Json = Readonly<Record<string, unknown>>;

export type VaultMethod = 'DELETE' | 'GET' | 'LIST' | 'POST';

export interface VaultConnectionOptions {
  readonly address: string;
  readonly namespace?: string | undefined;
  /** PEM of the CAs that the server's certificate is checked with; the system's when undefined. */
  readonly caFile?: string | undefined;
  /** What we show to the server. */
  readonly clientCertificate?: { readonly certificateFile: string; readonly keyFile: string } | undefined;
}

export interface VaultCall {
  readonly method: VaultMethod;
  /** Beneath `/v1/`, each segment encoded already. */
  readonly path: string;
  readonly body?: Json | undefined;
  readonly token?: string | undefined;
  /** Calls about the server itself take none. */
  readonly withoutNamespace?: boolean;
  readonly signal: AbortSignal;
}

export interface VaultAnswer {
  readonly status: number;
  /** Undefined when there is none, or none in JSON. */
  readonly body: Json | undefined;
}

/** The way to one server: HTTP/1.1 on connections that are kept. Knows nothing of tokens or retries. */
export interface VaultConnection {
  /** One request and its answer, whatever its status. Rejects when there is none, or one of more than 4 MiB. */
  exchange(call: VaultCall): Promise<VaultAnswer>;
  /** Has the files of certificates read again, and new connections made if they have changed. */
  refresh(): void;
  close(): void;
}

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const MAX_PEM_BYTES = 1024 * 1024;
/** Requests beyond it wait for one that ends. */
const MAX_CONNECTIONS = 16;
/** Shorter than the idle time-outs of usual servers and balancers, so that we are the one who closes. */
const IDLE_MS = 15_000;

interface Credentials {
  readonly ca: readonly string[] | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

export function createVaultConnection(options: VaultConnectionOptions): VaultConnection {
  const isPlain = options.address.startsWith('http:');
  let current: { readonly agent: HttpAgent; readonly credentials: Credentials | undefined } | undefined;
  let isStale = true;

  const agentNow = async (): Promise<HttpAgent> => {
    if (current !== undefined && !isStale) return current.agent;
    const credentials = isPlain ? undefined : await readCredentials(options);
    isStale = false;
    if (current !== undefined && JSON.stringify(credentials) === JSON.stringify(current.credentials)) {
      return current.agent;
    }
    current?.agent.destroy();
    current = { agent: newAgent(credentials), credentials };
    return current.agent;
  };

  return {
    async exchange(call) {
      const agent = await agentNow();
      return await new Promise((resolve, reject) => {
        const request = (isPlain ? httpRequest : httpsRequest)(urlOf(options.address, call), {
          agent,
          method: call.method === 'LIST' ? 'GET' : call.method,
          signal: call.signal,
          headers: headersOf(options, call),
        });
        request.on('error', reject).on('response', (response) => void readAnswer(response).then(resolve, reject));
        request.end(call.body === undefined ? undefined : JSON.stringify(call.body));
      });
    },
    refresh: () => void (isStale = true),
    close: () => current?.agent.destroy(),
  };
}

function newAgent(credentials: Credentials | undefined): HttpAgent {
  const shared = { keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: IDLE_MS };
  if (credentials === undefined) return new HttpAgent(shared);
  const { ca, cert, key } = credentials;
  return new HttpsAgent({
    ...shared,
    ...(ca === undefined ? {} : { ca: [...ca] }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
}

async function readCredentials({ caFile, clientCertificate }: VaultConnectionOptions): Promise<Credentials> {
  const ca = caFile === undefined ? systemCas() : [await readTextFile(caFile, MAX_PEM_BYTES)];
  if (clientCertificate === undefined) return { ca, cert: undefined, key: undefined };
  const cert = await readTextFile(clientCertificate.certificateFile, MAX_PEM_BYTES);
  return { ca, cert, key: await readSecret({ file: clientCertificate.keyFile }) };
}

/** Undefined where the system has none: then Node's own are used. */
function systemCas(): readonly string[] | undefined {
  const found = [...getCACertificates('system'), ...getCACertificates('extra')];
  return found.length === 0 ? undefined : found;
}

function urlOf(address: string, { method, path }: VaultCall): string {
  return `${address}/v1/${path}${method === 'LIST' ? '?list=true' : ''}`;
}

function headersOf(options: VaultConnectionOptions, call: VaultCall): Record<string, string> {
  const { namespace } = options;
  return {
    // A Vault agent in between wants it, against requests that others were tricked into.
    'x-vault-request': 'true',
    ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(call.token === undefined ? {} : { 'x-vault-token': call.token }),
    ...(namespace === undefined || call.withoutNamespace === true ? {} : { 'x-vault-namespace': namespace }),
  };
}

async function readAnswer(response: IncomingMessage): Promise<VaultAnswer> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response as AsyncIterable<Uint8Array>) {
    length += piece.length;
    if (length > MAX_ANSWER_BYTES) {
      response.destroy();
      throw new SvidgateError('too_large', `answers with more than ${MAX_ANSWER_BYTES} bytes`);
    }
    pieces.push(piece);
  }
  return { status: response.statusCode ?? 0, body: parseObject(Buffer.concat(pieces).toString('utf8')) };
}

function parseObject(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}
