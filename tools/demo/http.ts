import { request as httpRequest, type Agent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type AgentOptions } from 'node:https';
import type { TLSSocket } from 'node:tls';

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface Call {
  /** By default GET. */
  readonly method?: string;
  /** Sent as it stands, without any normalisation. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** What a TLS client shows and whom it expects. */
export interface TlsClient {
  /** PEM; both absent for a client without a certificate. */
  readonly certificateChain?: string;
  readonly privateKey?: string;
  /** PEM certificates of the trust bundle. */
  readonly trustBundle: string;
  readonly serverSpiffeId: string;
}

const TIMEOUT_MS = 10_000;

/** One plain request. Rejects when there is no answer within 10 s. */
export async function call(
  endpoint: Endpoint,
  { method = 'GET', path, headers = {} }: Call,
  agent?: Agent,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { address: host, port } = endpoint;
    const request = httpRequest({ host, port, method, path, headers, agent, timeout: TIMEOUT_MS });
    request.once('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.once('error', reject);
    request.once('response', (response) => void readAnswer(response).then(resolve, reject));
    request.end();
  });
}

/**
 * One request over a TLS connection of its own. Rejects with the TLS error when either side refuses the other; the
 * server's serial number comes with the answer.
 */
export async function callOverTls(
  endpoint: Endpoint,
  client: TlsClient,
  { method = 'GET', path, headers = {} }: Call,
): Promise<Answer & { readonly serverSerial: string }> {
  return new Promise((resolve, reject) => {
    let serverSerial = '';
    const { address: host, port } = endpoint;
    const request = httpsRequest({ ...tlsOptions(client), host, port, method, path, headers, agent: false });
    request.once('socket', (socket: TLSSocket) => {
      socket.once('secureConnect', () => {
        serverSerial = socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? '';
      });
    });
    request.once('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.once('error', reject);
    request.once('response', (response) => {
      void readAnswer(response).then((answer) => resolve({ ...answer, serverSerial }), reject);
    });
    request.end();
  });
}

/** A TLS connection that is kept between requests. */
export interface TlsConnection extends Disposable {
  /** One request after the other. `isReused` is whether it went over the connection of the one before. */
  ask(call: Call): Promise<Answer & { readonly isReused: boolean }>;
}

/** Connects at the first request. */
export function openTlsConnection({ address: host, port }: Endpoint, client: TlsClient): TlsConnection {
  const agent = new HttpsAgent({ ...tlsOptions(client), keepAlive: true, maxSockets: 1 });
  return {
    ask: async ({ method = 'GET', path, headers = {} }) =>
      new Promise((resolve, reject) => {
        const request = httpsRequest({ ...tlsOptions(client), host, port, method, path, headers, agent });
        request.once('timeout', () => request.destroy(new Error('no answer within 10 s')));
        request.once('error', reject);
        request.once('response', (response) => {
          const isReused = request.reusedSocket;
          void readAnswer(response).then((answer) => resolve({ ...answer, isReused }), reject);
        });
        request.end();
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

function tlsOptions(
  client: TlsClient,
): Pick<AgentOptions, 'timeout' | 'minVersion' | 'ca' | 'cert' | 'key' | 'checkServerIdentity'> {
  return {
    timeout: TIMEOUT_MS,
    minVersion: 'TLSv1.3',
    ca: client.trustBundle,
    cert: client.certificateChain,
    key: client.privateKey,
    checkServerIdentity: (_, { subjectaltname = '' }) =>
      subjectaltname === `URI:${client.serverSpiffeId}` ? undefined : new Error(`the server is ${subjectaltname}`),
  };
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  let body = '';
  response.setEncoding('utf8');
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode ?? 0, body };
}
