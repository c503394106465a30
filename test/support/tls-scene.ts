import 'reflect-metadata';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import * as x509 from '@peculiar/x509';
import { Watchable, noMetrics, silentLogger, systemClock, type LogFields } from '../../src/core/index.ts';
import { createClientJudge, createPeerVerifier, type PeerRevocations } from '../../src/peer/index.ts';
import { pemEncode } from '../../src/pki/index.ts';
import { parseSpiffeId, type ForeignBundles } from '../../src/spiffe/index.ts';
import {
  startWireServer,
  type GrpcMethod,
  type Peer,
  type ServerIdentity,
  type ServerTls,
} from '../../src/transport/index.ts';
import { createTestTrustDomain, type TestTrustDomain } from './test-trust-domain.ts';

/** Certificate and key in PEM. */
export interface ClientIdentity {
  readonly cert: string;
  readonly key: string;
  readonly serial: string;
}

/** A listener with TLS in the trust domain example.test, whose method tells each caller who it is. */
export interface TlsScene extends AsyncDisposable {
  readonly domain: TestTrustDomain;
  readonly port: number;
  /** Roots of the domain in PEM. */
  readonly roots: string;
  readonly identity: Watchable<ServerIdentity | undefined>;
  readonly foreign: Watchable<ForeignBundles>;
  readonly lines: (LogFields & { readonly message: string })[];
  /** Results of handshakes, in their order. */
  readonly results: string[];
  readonly onPeer: Peer[];
  /** What the clock of the listener is ahead of the real one. */
  ahead: number;
  revoke(what: { readonly serial?: string; readonly spiffeId?: string }): void;
  /** An SVID of the domain. */
  client(path: string, ttlMs?: number): Promise<ClientIdentity>;
  /** A new identity for the listener. */
  rotate(): Promise<ClientIdentity>;
}

export const WHO = '/t.T/Who';
/** Tells the caller the number of its connection. */
export const CONNECTION = '/t.T/Connection';
/** A stream that says `open` and stays. */
export const WATCH = '/t.T/Watch';

export async function openTlsScene(options: Partial<ServerTls> = {}): Promise<TlsScene> {
  const domain = await createTestTrustDomain('example.test');
  const client = async (path: string, ttlMs?: number): Promise<ClientIdentity> => issue(domain, path, ttlMs);
  const own = await client('/gate');
  const identity = new Watchable<ServerIdentity | undefined>({ privateKey: own.key, certificateChain: own.cert });
  const foreign = new Watchable<ForeignBundles>(new Map());
  const revocations = new Watchable(revocationsOf([], []));
  const serials: string[] = [];
  const ids: string[] = [];
  const [lines, results, onPeer]: [TlsScene['lines'], string[], Peer[]] = [[], [], []];
  const scene = { ahead: 0 };
  const now = (): number => Date.now() + scene.ahead;
  const clock = { ...systemClock, now };
  const watched = {
    bundle: domain.bundle,
    foreignBundles: foreign,
    intermediates: new Watchable<readonly Uint8Array[]>([]),
    revocations,
  };
  const peers = createPeerVerifier({ ...watched, clock });
  const server = await startWireServer({
    name: 'test',
    address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    methods: METHODS,
    identify: () => {
      throw new Error('TCP has no credentials');
    },
    onPeer: (peer) => void onPeer.push(peer),
    maxMessageBytes: 1024,
    tls: { identity, clients: createClientJudge({ ...watched, peers }), now, ...options },
    logger: {
      ...silentLogger,
      warn: (fields, message) => void lines.push({ ...fields, message }),
      error: (fields, message) => void lines.push({ ...fields, message }),
    },
    metrics: {
      ...noMetrics,
      count: (_name, labels) => void results.push((labels as { readonly result: string }).result),
    },
  });
  return Object.assign(scene, {
    domain,
    port: Number(server.address.split(':')[1]),
    roots: domain.bundle.value.x509Authorities.map((der) => pemEncode('CERTIFICATE', der)).join(''),
    identity,
    foreign,
    lines,
    results,
    onPeer,
    client,
    revoke({ serial, spiffeId }: { readonly serial?: string; readonly spiffeId?: string }) {
      if (serial !== undefined) serials.push(serial);
      if (spiffeId !== undefined) ids.push(spiffeId);
      revocations.set(revocationsOf([...serials], [...ids]));
    },
    async rotate() {
      const next = await client('/gate');
      identity.set({ privateKey: next.key, certificateChain: next.cert });
      return next;
    },
    [Symbol.asyncDispose]: () => server.stop(0),
  });
}

const METHODS: readonly GrpcMethod[] = [
  {
    kind: 'unary',
    path: WHO,
    handle: (_request, { peer }) => Promise.resolve(Buffer.from(peer.kind === 'tls' ? peer.spiffeId : peer.kind)),
    onFault: (error) => Buffer.from(`fault: ${error.code}`),
  },
  {
    kind: 'unary',
    path: CONNECTION,
    handle: (_request, { peer }) => Promise.resolve(Buffer.from(String(peer.connectionId))),
  },
  {
    kind: 'server-stream',
    path: WATCH,
    async *handle(_request, { signal }) {
      yield Buffer.from('open');
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  },
];

async function issue(domain: TestTrustDomain, path: string, ttlMs?: number): Promise<ClientIdentity> {
  const spiffeId = parseSpiffeId(`spiffe://${domain.bundle.value.trustDomain}${path}`);
  const svid = await domain.issueX509Svid({ spiffeId, entryId: 'test', ...(ttlMs === undefined ? {} : { ttlMs }) });
  return {
    cert: svid.certificateChain.map((der) => pemEncode('CERTIFICATE', der)).join(''),
    key: pemEncode('PRIVATE KEY', svid.privateKey),
    serial: svid.serial,
  };
}

function revocationsOf(serials: readonly string[], ids: readonly string[]): PeerRevocations {
  return {
    all: [...serials, ...ids],
    hasSerial: (serial) => serials.includes(serial),
    hasSpiffeId: (id) => ids.includes(id),
    hasSerialOf: () => false,
  };
}

/** A grpc-js client with a certificate, or without. */
export function grpcClient(scene: TlsScene, identity?: Pick<ClientIdentity, 'cert' | 'key'>): grpc.Client {
  const [cert, key] = identity === undefined ? [] : [Buffer.from(identity.cert), Buffer.from(identity.key)];
  const credentials = grpc.credentials.createSsl(Buffer.from(scene.roots), key, cert, {
    checkServerIdentity: () => undefined, // an SVID has no DNS name
  });
  return new grpc.Client(`127.0.0.1:${scene.port}`, credentials, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
  });
}

/** What the caller is told that it is, or the name of the status that it gets. */
export function ask(client: grpc.Client, path = WHO): Promise<string> {
  const raw = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      raw,
      (bytes: Buffer) => bytes.toString(),
      new Uint8Array(),
      { deadline: Date.now() + 5000 },
      (error, text) => resolve(error === null ? (text ?? '') : (grpc.status[error.code] ?? 'none')),
    );
  });
}

/** A bare TLS connection, once the handshake is done as far as this side sees. */
export async function handshake(scene: TlsScene, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: scene.port,
    ca: scene.roots,
    checkServerIdentity: () => undefined,
    ALPNProtocols: ['h2'],
    ...options,
  });
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.once('secureConnect', resolve).once('close', () => resolve()));
  return socket;
}

/** A certificate for these URIs that its own key has signed. */
export async function selfSigned(...uris: readonly string[]): Promise<Pick<ClientIdentity, 'cert' | 'key'>> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=self',
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3600_000),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.SubjectAlternativeNameExtension(uris.map((value) => ({ type: 'url', value }))),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    ],
  });
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { cert: certificate.toString('pem'), key: pemEncode('PRIVATE KEY', key) };
}
