import { join } from 'node:path';
import {
  noMetrics,
  silentLogger,
  SvidgateError,
  systemClock,
  Watchable,
  type AuditEvent,
  type Clock,
} from '../../src/core/index.ts';
import { createHealthEndpoint, createReflectionEndpoint } from '../../src/endpoints/health/index.ts';
import { createWorkloadApiEndpoint, type WorkloadApiOptions } from '../../src/endpoints/workload-api/index.ts';
import { createIdentitySource } from '../../src/identity/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  type ForeignBundles,
  type RegistrationEntry,
  type Selector,
  type SpiffeId,
} from '../../src/spiffe/index.ts';
import { startGrpcServer, type GrpcMethod } from '../../src/transport/index.ts';
import { tempFolder } from './temp-folder.ts';
import { createTestTrustDomain, type TestTrustDomain } from './test-trust-domain.ts';

/** A Workload API on a Unix socket, on the real identity source; every caller is attested as the same. */
export interface TestWorkloadApi extends AsyncDisposable {
  /** `unix:PATH` */
  readonly address: string;
  readonly domain: TestTrustDomain;
  /** The entries that match the caller. */
  readonly entries: Watchable<readonly RegistrationEntry[]>;
  readonly foreignBundles: Watchable<ForeignBundles>;
  readonly revokedIds: Set<SpiffeId>;
  /** What the endpoint recorded. */
  readonly audited: AuditEvent[];
  /** What the identity source recorded. */
  readonly issuances: AuditEvent[];
  /** What the attestor and the look before each secret do; each may throw. */
  readonly caller: { attest: () => void; assertAlive: () => void };
}

export interface TestWorkloadApiOptions {
  readonly clock?: Clock;
  readonly maxCallsPerProcess?: number;
  readonly anyAuthority?: boolean;
  /** Served beside the Workload API, health and reflection. */
  readonly methods?: readonly GrpcMethod[];
}

const SELECTOR = parseSelector('unix:uid:1');

/** Every caller has it in its environment, as a selector; it may stand in no audit event. */
export const SECRET_VARIABLE = 'correct-horse';

export function testEntry(path: string, fields: Partial<RegistrationEntry> = {}): RegistrationEntry {
  const spiffeId = parseSpiffeId(`spiffe://example.test${path}`);
  return { entryId: path.slice(1), spiffeId, selectors: [SELECTOR], ...fields };
}

export async function startTestWorkloadApi(options: TestWorkloadApiOptions = {}): Promise<TestWorkloadApi> {
  const { clock = systemClock } = options;
  const folder = await tempFolder();
  const domain = await createTestTrustDomain('example.test', { clock });
  const entries = new Watchable<readonly RegistrationEntry[]>([testEntry('/web')]);
  const foreignBundles = new Watchable<ForeignBundles>(new Map());
  const revokedIds = new Set<SpiffeId>();
  const audited: AuditEvent[] = [];
  const issuances: AuditEvent[] = [];
  const caller = { attest: () => undefined as void, assertAlive: () => undefined as void };
  const selectors: ReadonlySet<Selector> = new Set([SELECTOR, parseSelector(`docker:env:PASSWORD=${SECRET_VARIABLE}`)]);
  const auditCaller = { pid: 7, uid: 1, gid: 1, selectors: [SELECTOR, 'docker:env:PASSWORD=***'] };
  const attestor: WorkloadApiOptions['attestor'] = {
    // oxlint-disable-next-line require-await -- what it throws must be a rejection
    async attest() {
      caller.attest();
      return { selectors, caller: auditCaller, failedAttestors: [], assertAlive: () => caller.assertAlive() };
    },
  };
  const matching = new Watchable({ match: () => entries.value, concerns: () => true });
  entries.subscribe(() => matching.set({ match: () => entries.value, concerns: () => true }));
  const methods = createWorkloadApiEndpoint({
    attestor,
    identities: createIdentitySource({
      issuer: domain,
      bundle: domain.bundle,
      entries: matching,
      foreignBundles,
      audit: { record: (event) => void issuances.push(event) },
      clock,
      logger: silentLogger,
    }),
    isRevoked: (id) => revokedIds.has(id),
    ...(options.maxCallsPerProcess === undefined ? {} : { maxCallsPerProcess: options.maxCallsPerProcess }),
    audit: { record: (event) => void audited.push(event) },
    clock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const served = [...methods, ...createHealthEndpoint(), ...(options.methods ?? [])];
  const server = await startGrpcServer({
    name: 'workload',
    address: { kind: 'unix', path: join(folder.path, 'api.sock'), mode: 0o777 },
    methods: [...served, ...createReflectionEndpoint(served)],
    anyAuthority: options.anyAuthority ?? true,
    identify: () => ({ pid: 7, uid: 1, gid: 1, exited: new AbortController().signal, close: () => undefined }),
    maxMessageBytes: 1024 * 1024,
    logger: silentLogger,
    metrics: noMetrics,
  });
  return {
    address: server.address,
    domain,
    entries,
    foreignBundles,
    revokedIds,
    audited,
    issuances,
    caller,
    async [Symbol.asyncDispose]() {
      await server.stop(500);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** What attestation says of a process that is gone. */
export function goneProcess(): SvidgateError {
  return new SvidgateError('attestation_failed', 'workload attestation failed');
}
