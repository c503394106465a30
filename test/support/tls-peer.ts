import { X509Certificate } from 'node:crypto';
import { Agent, request } from 'node:https';
import { Secret, unpackAny } from '../../src/proto/index.ts';
import { connect } from './grpc-client.ts';

/** An X.509-SVID and its key, in PEM. */
export interface PeerIdentity {
  readonly cert: string;
  readonly key: string;
  /** As svidgate writes it: lower-case hexadecimal without leading zeros. */
  readonly serial: string;
}

/** The SVID of this ID that SDS gives to this process at the moment. Throws when there is none. */
export async function fetchIdentity(socket: string, spiffeId: string): Promise<PeerIdentity> {
  using client = connect(socket);
  const { resources } = await client.fetchSecrets([spiffeId]);
  const [resource] = resources;
  if (resource === undefined) throw new Error(`no SVID for ${spiffeId}`);
  return identityOf(unpackAny(Secret, resource, 1024 * 1024));
}

/** What is in a secret with an SVID. Throws for another. */
export function identityOf({ tlsCertificate }: Secret): PeerIdentity {
  const text = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString();
  const cert = text(tlsCertificate?.certificateChain?.inlineBytes);
  const key = text(tlsCertificate?.privateKey?.inlineBytes);
  const serial = new X509Certificate(cert).serialNumber.toLowerCase().replace(/^0+/, '');
  return { cert, key, serial };
}

/** A client with one connection, which stays open from its first request on. */
export interface TlsPeer extends Disposable {
  /** The status of the answer; 0 when the connection was refused or closed without one. */
  get(path: string): Promise<number>;
  /** How many connections it has made. */
  readonly connections: number;
}

const LIMIT_MS = 10_000;

export function tlsPeer(
  at: { readonly address: string; readonly port: number },
  identity: Pick<PeerIdentity, 'cert' | 'key'>,
): TlsPeer {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 });
  const sockets = new Set<unknown>();
  return {
    get connections() {
      return sockets.size;
    },
    get: (path) =>
      new Promise((resolve) => {
        const { cert, key } = identity;
        const target = { host: at.address, port: at.port, path, timeout: LIMIT_MS };
        const sent = request({ ...target, cert, key, agent, rejectUnauthorized: false }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode ?? 0));
        });
        sent.on('socket', (socket) => sockets.add(socket));
        sent.on('timeout', () => sent.destroy(new Error('no answer')));
        sent.on('error', () => resolve(0));
        sent.end();
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** The status of one request on a connection of its own; 0 when the handshake is refused. */
export async function getOnce(
  at: { readonly address: string; readonly port: number },
  identity: Pick<PeerIdentity, 'cert' | 'key'>,
  path = '/',
): Promise<number> {
  using peer = tlsPeer(at, identity);
  return await peer.get(path);
}
