import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';

/** Who calls: certificate and key in PEM, or nobody. */
export interface CallerIdentity {
  readonly cert?: string;
  readonly key?: string;
}

export interface TlsTarget {
  readonly address: string;
  readonly port: number;
  /** Roots that the server is checked against, and its name. */
  readonly ca: string;
  readonly serverName: string;
}

export type TlsAnswer =
  | {
      readonly status: number;
      readonly headers: Readonly<Record<string, string | string[] | undefined>>;
      /** Of the server's certificate, as svidgate writes it. */
      readonly serial: string;
    }
  /** The connection failed, in the handshake or before any answer. */
  | { readonly status: 'refused'; readonly reason: string };

/** One GET on a connection of its own. Rejects when nobody listens there. */
export async function callOnce(target: TlsTarget, identity: CallerIdentity = {}): Promise<TlsAnswer> {
  const { address: host, port, ca, serverName: servername } = target;
  const { cert, key } = identity;
  return await new Promise((resolve, reject) => {
    const options = { host, port, ca, servername, agent: false, timeout: 10_000, cert, key };
    const sent = request({ ...options, path: '/', headers: { host: servername } }, (response) => {
      const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate();
      const serial = serialNumber.toLowerCase().replace(/^0+/, '');
      response.resume().on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, serial });
      });
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer')));
    sent.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') reject(error);
      else resolve({ status: 'refused', reason: error.message });
    });
    sent.end();
  });
}

/** One of the SVIDs that `svid fetch --write` put into a folder. */
export async function writtenSvid(
  folder: string,
  index = 0,
): Promise<Required<CallerIdentity> & { readonly ca: string }> {
  const read = async (name: string): Promise<string> => readFile(join(folder, name), 'utf8');
  return {
    cert: await read(`svid.${index}.pem`),
    key: await read(`svid.${index}.key`),
    ca: await read(`bundle.${index}.pem`),
  };
}

/** As whom the service behind an example sees the caller: its SPIFFE ID, `nobody`, or `refused` when it does not get there. */
export async function peerSeen(target: TlsTarget, identity?: CallerIdentity): Promise<string> {
  const answer = await callOnce(target, identity);
  if (answer.status === 'refused') return 'refused';
  if (answer.status !== 200) throw new Error(`answered with ${answer.status}`);
  return String(answer.headers['x-peer'] ?? 'nobody');
}
