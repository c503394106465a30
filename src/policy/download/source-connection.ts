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
  /**
   * Instead of CAs and names: why a chain, DER with the leaf first, is not the server's; undefined when it is. It is asked
   * before a byte is sent.
   */
  readonly refusal?: (chain: readonly Uint8Array[]) => string | undefined;
  /** What we show; a connection waits until there is one. */
  readonly identity?: ReadonlyWatchable<ClientIdentity | undefined>;
}

/** A longer chain is refused by whoever judges it, and one too many is enough for that. */
const MAX_CHAIN = 10;

/** A connection to the URL's host whose server is proven. Rejects with `policy_source_failed`, or when the signal is aborted. */
export async function openConnection(url: URL, tls: SourceTls, signal: AbortSignal): Promise<Socket> {
  const host = hostOf(url);
  if (url.protocol === 'http:') {
    const socket = connectTcp({ host, port: Number(url.port || '80') });
    return await opened(socket, 'connect', signal);
  }
  const options: ConnectionOptions = {
    host,
    port: Number(url.port || '443'),
    servername: isIP(host) === 0 ? host : '',
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    ...(await trustOf(tls)),
    ...(await shown(tls.identity, signal)),
  };
  const socket = await opened(connectTls(options), 'secureConnect', signal);
  const refusal = tls.refusal === undefined ? undefined : judge(tls.refusal, socket);
  if (refusal === undefined) return socket;
  socket.destroy();
  throw new SvidgateError('policy_source_failed', `${url.host} is not the server that is expected: ${refusal}`);
}

/** Without the brackets of an IPv6 address. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** The chain is for our judge alone, or for OpenSSL, which looks at the name, too. */
async function trustOf({ caFile, refusal }: SourceTls): Promise<ConnectionOptions> {
  if (refusal !== undefined) return { rejectUnauthorized: false, ca: [] };
  if (caFile !== undefined) return { ca: await readFile(caFile, 'utf8') };
  const ofSystem = [...getCACertificates('system'), ...getCACertificates('extra')];
  // Node's own where the system has none.
  return ofSystem.length === 0 ? {} : { ca: ofSystem };
}

async function shown(identity: SourceTls['identity'], signal: AbortSignal): Promise<ConnectionOptions> {
  if (identity === undefined) return {};
  const wait = new AbortController();
  try {
    for await (const value of identity.watch(AbortSignal.any([signal, wait.signal]))) {
      if (value !== undefined) return { key: value.privateKey, cert: value.certificateChain };
    }
  } finally {
    wait.abort();
  }
  throw new SvidgateError('policy_source_failed', 'there is no svid of svidgate to show yet');
}

async function opened<S extends Socket>(
  socket: S,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<S> {
  const give = (): void => void socket.destroy(new Error('aborted'));
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

function judge(refusal: NonNullable<SourceTls['refusal']>, socket: TLSSocket): string | undefined {
  const chain = chainOf(socket);
  if (chain.length === 0) return 'it shows no certificate';
  try {
    return refusal(chain);
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
