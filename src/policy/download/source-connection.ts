import type { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, getCACertificates, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { SvidgateError, type ReadonlyWatchable } from '../../core/index.ts';

/** What we show of ourselves in a handshake. */
export interface ClientIdentity {
  /** PEM, PKCS #8. */
  readonly privateKey: string;
  /** PEM, the leaf first. */
  readonly certificateChain: string;
}

/** How a server proves itself, and what we show to it. */
export interface SourceTls {
  /** PEM of the CAs that its certificate is checked with, read for each connection; the system's when undefined. */
  readonly caFile?: string;
  /** Instead of CAs and names. It is asked before a byte is sent; a connection waits until it is there. */
  readonly judge?: ReadonlyWatchable<ServerJudge | undefined>;
  /** What we show; a connection waits until there is one. */
  readonly identity?: ReadonlyWatchable<ClientIdentity | undefined>;
}

/** Why a chain, DER with the leaf first, is not that of the server; undefined when it is. Throwing is a refusal. */
export type ServerJudge = (chain: readonly Uint8Array[]) => string | undefined;

/** A longer chain is refused by whoever judges it, and one too many is enough for that. */
const MAX_CHAIN = 10;

/** A connection to the URL's host whose server is proven. Rejects with `policy_source_failed`, or when the signal is aborted. */
export async function openConnection(url: URL, tls: SourceTls, signal: AbortSignal): Promise<Socket> {
  const host = hostOf(url);
  if (url.protocol === 'http:') {
    const socket = connectTcp({ host, port: Number(url.port || '80') });
    return await opened(socket, 'connect', signal);
  }
  const judge = await present(tls.judge, 'the trust bundles are not there yet', signal);
  const identity = await present(tls.identity, 'there is no svid to show yet', signal);
  const options: ConnectionOptions = {
    host,
    port: Number(url.port || '443'),
    servername: isIP(host) === 0 ? host : '',
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    // The chain is for our judge alone, or for OpenSSL, which looks at the name, too.
    ...(judge === undefined ? await trustOf(tls) : { rejectUnauthorized: false, ca: [] }),
    ...(identity === undefined ? {} : { key: identity.privateKey, cert: identity.certificateChain }),
  };
  const socket = await opened(connectTls(options), 'secureConnect', signal);
  const refusal = judge === undefined ? undefined : refusalOf(judge, socket);
  if (refusal === undefined) return socket;
  socket.destroy();
  throw new SvidgateError('policy_source_failed', `${url.host} is not the server that is expected: ${refusal}`);
}

/** Without the brackets of an IPv6 address. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

async function trustOf({ caFile }: SourceTls): Promise<ConnectionOptions> {
  if (caFile !== undefined) return { ca: await readFile(caFile, 'utf8') };
  const ofSystem = [...getCACertificates('system'), ...getCACertificates('extra')];
  // Node's own where the system has none.
  return ofSystem.length === 0 ? {} : { ca: ofSystem };
}

/** The first value that is there. Undefined when nothing is configured. */
async function present<T>(
  source: ReadonlyWatchable<T | undefined> | undefined,
  missing: string,
  signal: AbortSignal,
): Promise<T | undefined> {
  if (source === undefined) return undefined;
  for await (const value of source.watch(signal)) if (value !== undefined) return value;
  throw new SvidgateError('policy_source_failed', missing);
}

async function opened<S extends Socket>(
  socket: S,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<S> {
  const give = (): void => void socket.destroy(new Error('aborted'));
  // Whoever uses it later hears of an error, too; between the two nobody would, and the process would end.
  socket.on('error', () => undefined);
  signal.addEventListener('abort', give);
  try {
    if (signal.aborted) give();
    await new Promise<void>((resolve, reject) => {
      socket.once(event, resolve);
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the connection was closed')));
    });
  } finally {
    signal.removeEventListener('abort', give);
  }
  return socket;
}

function refusalOf(judge: ServerJudge, socket: TLSSocket): string | undefined {
  const chain = chainOf(socket);
  if (chain.length === 0) return 'it shows no certificate';
  try {
    return judge(chain);
  } catch {
    return 'its certificate cannot be read';
  }
}

/** As it was presented, the leaf first. */
function chainOf(socket: TLSSocket): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let next = socket.getPeerX509Certificate();
  while (next !== undefined && chain.length < MAX_CHAIN) {
    chain.push(next.raw);
    const issuer: X509Certificate | undefined = next.issuerCertificate;
    next = issuer?.fingerprint256 === next.fingerprint256 ? undefined : issuer;
  }
  return chain;
}
