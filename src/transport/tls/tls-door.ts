import { constants, type X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls';
import { describeError, type Logger, type Metrics } from '../../core/index.ts';
import type { Peer } from '../peer.ts';
import type { ServerIdentity, ServerTls } from '../server-tls.ts';
import { AcceptedClient, judgeSafely } from './accepted-client.ts';
import { RefusalLog } from './refusal-log.ts';

type TcpPeer = Extract<Peer, { readonly kind: 'tcp' }>;

export interface TlsDoorOptions {
  /** Of the listener, in metrics and log lines. */
  readonly name: string;
  readonly tls: ServerTls;
  /** By ALPN. A client that names none speaks HTTP/1.1, and where that is served is let in. Default `h2`. */
  readonly protocol?: 'h2' | 'http/1.1';
  /** Takes the connection over: nothing but the handshake has been read. */
  readonly onClient: (socket: TLSSocket, client: AcceptedClient) => void;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const DEFAULT_TIMEOUT_MS = 5000;
const DEFAULT_MAX_HANDSHAKES = 256;

/** What HTTP/2 allows of TLS 1.2 (RFC 9113 §9.2.2), and TLS 1.3. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** A resumed session would bring no chain, and a renegotiation another certificate. */
const SECURE_OPTIONS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;

function contextOf(identity: ServerIdentity): SecureContextOptions {
  return {
    key: identity.privateKey,
    cert: identity.certificateChain,
    ca: [], // our judge looks at the chain, and no public authority does
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    honorCipherOrder: true,
    secureOptions: SECURE_OPTIONS,
  };
}

/** Whom an accepted TCP connection is from, by TLS. OpenSSL has the client prove its key; the chain is for our judge. */
export class TlsDoor {
  readonly #options: TlsDoorOptions;
  readonly #server: Server;
  readonly #refusals: RefusalLog;
  readonly #now: () => number;
  /** By the client's address, the oldest first. */
  readonly #handshakes = new Map<string, { readonly socket: Socket; readonly peer: TcpPeer }>();
  #identity: ServerIdentity | undefined;
  #isReady = false;

  constructor(options: TlsDoorOptions) {
    this.#options = options;
    this.#now = options.tls.now ?? Date.now;
    this.#refusals = new RefusalLog(options.logger, this.#now);
    this.#server = createServer({
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: [options.protocol ?? 'h2'],
      handshakeTimeout: options.tls.handshakeTimeoutMs ?? DEFAULT_TIMEOUT_MS,
    });
    this.#server.on('secureConnection', (socket) => this.#judge(socket));
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const result = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'timed_out' : 'failed';
      this.#refuse(socket, result, `handshake_${result}`);
    });
  }

  /** A connection of which no byte has been read. */
  take(socket: Socket, peer: TcpPeer): void {
    this.#takeIdentity();
    if (!this.#isReady) {
      this.#count('no_identity', 'server_has_no_identity', peer.address);
      return void socket.destroy();
    }
    const { maxHandshakes = DEFAULT_MAX_HANDSHAKES } = this.#options.tls;
    if (this.#handshakes.size >= maxHandshakes) this.#endOldest();
    this.#handshakes.set(peer.address, { socket, peer });
    socket.once('close', () => {
      if (this.#handshakes.get(peer.address)?.socket === socket) this.#handshakes.delete(peer.address);
    });
    this.#server.emit('connection', socket);
  }

  #takeIdentity(): void {
    const { value } = this.#options.tls.identity;
    if (value === this.#identity) return;
    this.#identity = value;
    if (value === undefined) {
      this.#isReady = false;
      return;
    }
    try {
      this.#server.setSecureContext(contextOf(value));
      this.#isReady = true;
    } catch (error) {
      // OpenSSL's words on a key say what is wrong with its form, and nothing of what is in it.
      this.#options.logger.error({ reason: describeError(error) }, 'the identity of the listener cannot be used');
    }
  }

  #endOldest(): void {
    const [oldest] = this.#handshakes.values();
    if (oldest === undefined) return;
    this.#handshakes.delete(oldest.peer.address);
    this.#count('pushed_out', 'too_many_handshakes', oldest.peer.address);
    oldest.socket.destroy();
  }

  #judge(socket: TLSSocket): void {
    const address = addressOf(socket);
    const peer = this.#handshakes.get(address)?.peer;
    if (peer === undefined) return void socket.destroy(); // it has gone
    if (!this.#isServed(socket.alpnProtocol)) return this.#refuse(socket, 'failed', 'no_http2');
    const chain = chainOf(socket);
    if (chain.length === 0) return this.#refuse(socket, 'no_certificate', 'no_certificate');
    const { clients } = this.#options.tls;
    const epoch = clients.epoch(); // before the verdict, so that it is never newer than that
    const verdict = judgeSafely(clients, chain);
    if (!verdict.accepted) return this.#refuse(socket, 'refused', verdict.reason);
    this.#handshakes.delete(address);
    this.#options.metrics.count('svidgate_tls_handshakes_total', { listener: this.#options.name, result: 'accepted' });
    const { connectionId } = peer;
    const { spiffeId, serial, validUntil } = verdict;
    const tlsPeer = { kind: 'tls', connectionId, address, spiffeId, serial } as const;
    const seen = { chain, clients, now: this.#now, epoch, validUntil };
    this.#options.onClient(socket, new AcceptedClient(tlsPeer, seen));
  }

  /** `false`: the client named none. */
  #isServed(protocol: string | false | null): boolean {
    const { protocol: served = 'h2' } = this.#options;
    return protocol === served || (served === 'http/1.1' && protocol === false);
  }

  #refuse(socket: TLSSocket, result: HandshakeResult, reason: string): void {
    const address = addressOf(socket);
    // A connection that was pushed out is told once.
    if (this.#handshakes.delete(address)) this.#count(result, reason, address);
    socket.destroy();
  }

  #count(result: HandshakeResult, reason: string, address: string): void {
    this.#options.metrics.count('svidgate_tls_handshakes_total', { listener: this.#options.name, result });
    this.#refusals.add(reason, address);
  }
}

type HandshakeResult =
  'accepted' | 'failed' | 'timed_out' | 'pushed_out' | 'no_identity' | 'no_certificate' | 'refused';

function addressOf(socket: TLSSocket): string {
  return `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
}

/** Longer chains are refused by whoever judges them, and one too many is enough for that. */
const MAX_CHAIN = 10;

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
