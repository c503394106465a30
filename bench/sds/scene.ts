import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { generateKeyPair } from '../../src/pki/index.ts';
import { formatPemBundle, parseTrustDomain } from '../../src/spiffe/index.ts';
import { createRootCertificate } from '../../test/support/certificates.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import { connectAdmin, IMPORT_MODE, type AdminClient } from '../parts/admin-client.ts';
import { linkNode } from '../parts/bench-folder.ts';
import { createBenchServer, OWN_SELECTOR, TRUST_DOMAIN, type BenchServer } from '../parts/bench-server.ts';
import type { PushJobs } from '../parts/push-worker.ts';
import type { SdsJobs } from '../parts/sds-worker.ts';
import { startWorker, type Worker } from '../parts/worker.ts';

/** Sockets of the server and of the floor that it is measured beside. */
export interface Sides<T> {
  readonly own: T;
  readonly floor: T;
}

/** A process with an executable of its own: what the selectors of its entries name. */
export interface Client {
  readonly worker: Worker<SdsJobs>;
  readonly selectors: readonly string[];
}

/** What all steps have in common. */
export interface Scene extends AsyncDisposable {
  readonly context: BenchmarkContext;
  readonly server: BenchServer;
  readonly sockets: Sides<string>;
  readonly floor: Worker<PushJobs>;
  /** Its streams share an identity, and trust another trust domain as well. */
  readonly fleet: Client;
  /** Each has identities of its own. */
  readonly callers: readonly Client[];
  readonly admin: AdminClient;
  /** Pushes that nobody needed, so far. */
  unneeded: number;
}

export const FOREIGN_TRUST_DOMAIN = parseTrustDomain('other.test');

/** The entry of the fleet. */
export const SHARED_ENTRY = 'shared';

/** Attestation remembers the digest only of a file that nobody touched for 2 s, as executables are in practice. */
const SETTLE_MS = 2500;

/** More than the default, which bounds what one caller may have: here, one caller stands for thousands. */
const SETTINGS = {
  sds: { limits: { streams: 100_000, requests_per_second: 1_000_000, request_bytes_per_second: 2 ** 32 } },
};

export async function openScene(context: BenchmarkContext, callers: number): Promise<Scene> {
  await using open = new AsyncDisposableStack();
  const server = open.use(await createBenchServer({ gate: false, settings: SETTINGS }));
  const floor = open.use(startWorker<PushJobs>('push-worker.ts'));
  const floorSocket = join(server.folder, 'run/floor.sock');
  await floor.ask('listen', floorSocket);
  const client = async (name: string): Promise<Client> => {
    const node = await linkNode(server.folder, name);
    const worker = open.use(startWorker<SdsJobs>('sds-worker.ts', node));
    return { worker, selectors: [OWN_SELECTOR, `unix:path:${node}`] };
  };
  const fleet = await client('fleet');
  const others = await Promise.all(Array.from({ length: callers }, (_, index) => client(`caller-${index}`)));
  await server.writeEntries([]);
  if (context.size === 'full') await pause(SETTLE_MS);
  await server.process.start();
  const admin = open.use(await connectAdmin(server));
  await admin.call('setBundle', { trustDomain: FOREIGN_TRUST_DOMAIN, document: await foreignDocument() });
  const shared = {
    entryId: SHARED_ENTRY,
    spiffeId: `spiffe://${TRUST_DOMAIN}/shared`,
    selectors: fleet.selectors,
    federatesWith: [FOREIGN_TRUST_DOMAIN],
  };
  await admin.call('importEntries', { entries: [shared], mode: IMPORT_MODE.create });
  const opened = open.move();
  return {
    context,
    server,
    sockets: { own: server.sds.slice('unix:'.length), floor: floorSocket },
    floor,
    fleet,
    callers: others,
    admin,
    unneeded: 0,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** A bundle of the other trust domain, each time with another root. */
export async function foreignDocument(): Promise<string> {
  const now = Date.now();
  const { certificate } = await createRootCertificate({
    uri: `spiffe://${FOREIGN_TRUST_DOMAIN}`,
    organization: 'Other',
    keyPair: generateKeyPair(),
    notBefore: now - 60_000,
    notAfter: now + 24 * 3_600_000,
  });
  return formatPemBundle({
    trustDomain: FOREIGN_TRUST_DOMAIN,
    x509Authorities: [certificate],
    jwtAuthorities: [],
    sequence: 1,
  });
}

/** The server's process. */
export function pidOf({ server }: Scene): number {
  return server.process.child?.pid ?? -1;
}
