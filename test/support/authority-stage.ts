import {
  createAuthority,
  createMemoryKeyManager,
  type Authority,
  type AuthorityOptions,
  type KeyManager,
  type UpstreamAuthority,
} from '../../src/authority/index.ts';
import { noMetrics, silentLogger, Watchable } from '../../src/core/index.ts';
import type { DocumentStore, IssuedStore, IssuedSvid, RevocationStore } from '../../src/datastore/index.ts';
import {
  createRoot,
  generateKeyPair,
  parseCertificate,
  signerFor,
  signIntermediate,
  type OutsideCa,
} from '../../src/pki/index.ts';
import type { Revocation } from '../../src/spiffe/index.ts';
import { TRUST_DOMAIN } from './svid-fixtures.ts';
import { createTestClock, type TestClock } from './test-clock.ts';

/** Stores in memory that survive the "process", as a disk does. Reads and writes are whole, as the datastore promises. */
export interface MemoryStores {
  readonly documents: DocumentStore;
  readonly issued: IssuedStore;
  readonly revocations: RevocationStore;
  readonly texts: Map<string, string>;
}

export function memoryStores(): MemoryStores {
  const texts = new Map<string, string>();
  const issued = new Map<string, IssuedSvid>();
  const revocations = new Map<string, Revocation>();
  return {
    texts,
    documents: {
      read: async (name) => texts.get(name),
      write: async (name, text) => void texts.set(name, text),
    },
    issued: {
      record: (svid) => void issued.set(svid.serial, svid),
      find: async (serial) => issued.get(serial),
      prune: async (before) => {
        for (const svid of issued.values()) if (svid.notAfter < before) issued.delete(svid.serial);
      },
      flush: async () => undefined,
    },
    revocations: {
      list: async () => [...revocations.values()],
      put: async (revocation) => void revocations.set(revocation.id, revocation),
      delete: async (id) => void revocations.delete(id),
    },
  };
}

export interface AuthorityStage {
  readonly clock: TestClock;
  readonly stores: MemoryStores;
  readonly keyManager: KeyManager;
  /** Opens the authority as a new process would. */
  open(options?: Partial<AuthorityOptions>): Promise<Authority>;
}

/** Everything around an authority in memory, with a clock of its own. */
export function createAuthorityStage(defaults: Partial<AuthorityOptions> = {}): AuthorityStage {
  const clock = createTestClock();
  const stores = memoryStores();
  const keyManager = createMemoryKeyManager();
  return {
    clock,
    stores,
    keyManager,
    open: (options = {}) =>
      createAuthority({
        trustDomain: TRUST_DOMAIN,
        documents: stores.documents,
        issued: stores.issued,
        keyManager,
        caTtlMs: 24 * 3600_000,
        x509SvidTtlMs: 3600_000,
        clock,
        logger: silentLogger,
        metrics: noMetrics,
        ...defaults,
        ...options,
      }),
  };
}

/** An upstream in this process: one root, and whatever it is told to do wrong. */
export interface TestUpstream extends UpstreamAuthority {
  readonly root: Uint8Array;
  readonly roots: Watchable<readonly Uint8Array[]>;
  /** Throws to have it fail. */
  fault: () => void;
  /** How long its intermediates live; what was asked for when undefined. */
  lifeMs: number | undefined;
  /** Its root from now on is a new one, which is published. */
  rotate(): Promise<void>;
}

export async function createTestUpstream(clock: TestClock, rootLifeMs = 1000 * 3600_000): Promise<TestUpstream> {
  const makeRoot = async (): Promise<OutsideCa> => {
    const { privateKey } = generateKeyPair();
    const times = { notBefore: clock.now() - 3600_000, notAfter: clock.now() + rootLifeMs };
    const subject = { uri: `spiffe://${TRUST_DOMAIN}`, organization: 'upstream', signer: signerFor(privateKey) };
    const { certificate } = await createRoot({ ...subject, ...times });
    return { certificate: parseCertificate(certificate), privateKey };
  };
  let ca = await makeRoot();
  const roots = new Watchable<readonly Uint8Array[]>([ca.certificate.der]);
  const upstream: TestUpstream = {
    kind: 'test',
    get root() {
      return ca.certificate.der;
    },
    roots,
    fault: () => undefined,
    lifeMs: undefined,
    async rotate() {
      const before = ca.certificate.der;
      ca = await makeRoot();
      roots.set([before, ca.certificate.der]);
    },
    async mintCa({ csr, ttlMs }) {
      upstream.fault();
      const now = clock.now();
      const times = { notBefore: now - 10_000, notAfter: now + (upstream.lifeMs ?? ttlMs) };
      const { certificate } = await signIntermediate({ csr, ca, ...times });
      return { chain: [certificate], roots: [ca.certificate.der] };
    },
    async run(signal) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  };
  return upstream;
}
