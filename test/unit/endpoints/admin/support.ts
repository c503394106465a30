import { silentLogger, SvidgateError, type AuditEvent, type AuditLog } from '../../../../src/core/index.ts';
import {
  createAdminEndpoint,
  type AdminCaller,
  type AdminEndpointOptions,
  type EntryAdmin,
  type ForeignBundle,
  type StatusReport,
} from '../../../../src/endpoints/admin/index.ts';
import {
  adminRpc,
  decodeMessage,
  encodeMessage,
  type AdminRequestInit,
  type AdminResponse,
  type AdminRpcName,
} from '../../../../src/proto/index.ts';
import type { ListedPolicyEvent } from '../../../../src/policy/index.ts';
import type { EntryAuthor, EntryDraft } from '../../../../src/registration/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  parseTrustDomain,
  type RegisteredEntry,
  type RegistrationEntry,
  type Revocation,
  type TrustBundle,
} from '../../../../src/spiffe/index.ts';
import type { CallContext, Peer } from '../../../../src/transport/index.ts';
import { createTestClock, type TestClock } from '../../../support/test-clock.ts';

const MAX_BYTES = 64 * 1024 * 1024;
export const TRUST_DOMAIN = parseTrustDomain('example.test');
export const UID = 1000;

/** The admin endpoint with small parts behind it, called without a socket. */
export interface TestAdmin {
  readonly clock: TestClock;
  readonly events: AuditEvent[];
  /** What was asked of the parts that only note it. */
  readonly asked: string[];
  readonly entries: Map<string, RegisteredEntry>;
  readonly foreign: Map<string, ForeignBundle>;
  readonly revocations: Map<string, Revocation>;
  call<Name extends AdminRpcName>(
    name: Name,
    request: AdminRequestInit<Name>,
    options?: CallOptions,
  ): Promise<AdminResponse<Name>>;
  callBytes(name: AdminRpcName, bytes: Uint8Array, options?: CallOptions): Promise<Uint8Array>;
  stream<Name extends AdminRpcName>(
    name: Name,
    request: AdminRequestInit<Name>,
    options?: CallOptions,
  ): AsyncGenerator<AdminResponse<Name>, void, void>;
  /** The paths that the endpoint serves. */
  readonly paths: readonly string[];
}

export interface CallOptions {
  readonly uid?: number;
  readonly peer?: Peer;
  readonly signal?: AbortSignal;
}

/** Newest first. */
export function testEvents(policy: string): readonly ListedPolicyEvent[] {
  const usual = { policy, source: './policies', entrypoint: 'a/allow', by: 'source' } as const;
  return [
    {
      ...usual,
      kind: 'refused',
      at: 3000,
      gate: 'tests',
      reason: '1 of its 2 tests failed',
      digest: 'd2',
      isKept: false,
    },
    { ...usual, kind: 'activated', at: 2000, digest: 'd1', revision: 'r1', signedBy: 'release', isKept: true },
    { ...usual, kind: 'refused', at: 1000, gate: 'source', reason: 'it is not there', isKept: false },
  ];
}

export interface TestAdminOptions extends Partial<AdminEndpointOptions> {
  readonly status?: { status(): StatusReport };
}

export function createTestAdmin(options: TestAdminOptions = {}): TestAdmin {
  const clock = createTestClock();
  const events: AuditEvent[] = [];
  const asked: string[] = [];
  const entries = new Map<string, RegisteredEntry>();
  const foreign = new Map<string, ForeignBundle>();
  const revocations = new Map<string, Revocation>();
  const note = (text: string): Promise<void> => Promise.resolve(void asked.push(text));
  const methods = createAdminEndpoint({
    callers: [{ uid: UID, role: 'authority' }],
    clock,
    audit: { record: (event) => void events.push(event) } satisfies AuditLog,
    logger: silentLogger,
    entries: entryMap(entries, () => clock.now()),
    authorities: {
      slots: () => [testSlot()],
      prepare: (kind) => note(`prepare ${kind}`),
      activate: ({ kind, id }) => note(`activate ${kind} ${id}`),
      taint: ({ kind, id }) => note(`taint ${kind} ${id}`),
      revoke: ({ kind, id }) => note(`revoke ${kind} ${id}`),
    },
    ownBundle: () => emptyBundle('example.test'),
    foreignBundles: {
      list: () => [...foreign.values()],
      set: (bundle) => Promise.resolve(foreign.set(bundle.trustDomain, { bundle, source: 'api' })),
      delete: (trustDomain) => {
        if (foreign.delete(trustDomain)) return Promise.resolve();
        return Promise.reject(new SvidgateError('not_found', `no bundle of ${trustDomain}`));
      },
    },
    revocations: {
      list: () => [...revocations.values()],
      revoke: ({ target, reason }) => {
        const revocation = { id: `r${revocations.size}`, target, reason, revokedAt: clock.now() };
        revocations.set(revocation.id, revocation);
        return Promise.resolve(revocation);
      },
      undo: (id) => {
        const found = revocations.get(id);
        if (found === undefined) return Promise.reject(new SvidgateError('not_found', `no revocation ${id}`));
        revocations.delete(id);
        return Promise.resolve(found);
      },
    },
    explain: (pid) =>
      Promise.resolve({
        pid,
        uid: 7,
        executable: '/bin/true',
        attestors: [
          { name: 'unix', selectors: ['unix:uid:7'] },
          { name: 'docker', selectors: ['docker:image_id:x'] },
          { name: 'k8s', selectors: [], problem: 'no kubelet' },
        ],
        matches: [{ entryId: 'e1', spiffeId: parseSpiffeId('spiffe://example.test/a') }],
        nearMisses: [
          {
            entryId: 'e2',
            spiffeId: parseSpiffeId('spiffe://example.test/b'),
            missing: ['unix:uid:8'],
            obstacle: 'expired',
          },
        ],
      }),
    policies: {
      isTried: (policy) => policy === 'candidate',
      shadowReport: () => Promise.resolve({ summaries: [], differences: [] }),
      clearShadowReport: (policy = 'all') => note(`clear ${policy}`),
    },
    policyHistory: {
      names: () => ['candidate', 'default'],
      history: (policy) => Promise.resolve(testEvents(policy)),
      rollBack: ({ policy, digest = 'before', skipsReplay, reason = '-' }, { uid }) =>
        note(`roll back ${policy} to ${digest}, ${skipsReplay ? 'forced' : 'tried'}, ${reason} by ${uid ?? ''}`).then(
          () => ({
            name: policy,
            state: 'active',
          }),
        ),
      release: ({ policy }) => note(`release ${policy}`).then(() => ({ name: policy, state: 'active' })),
    },
    takeBackup: (passphrase) => Promise.resolve(new Uint8Array(600_000).fill(passphrase.length)),
    ...options,
    status: options.status ?? { status: () => testReport() },
  });
  const byPath = new Map(methods.map((method) => [method.path, method]));
  const contextOf = ({ uid = UID, peer, signal }: CallOptions): CallContext => ({
    peer: peer ?? unixPeer(uid),
    signal: signal ?? new AbortController().signal,
    deadline: undefined,
    header: () => [],
  });
  const callBytes: TestAdmin['callBytes'] = async (name, bytes, options = {}) => {
    const method = byPath.get(adminRpc(name).path);
    if (method?.kind === 'unary') return await method.handle(bytes, contextOf(options));
    if (method?.kind !== 'server-stream') throw new Error(`${name} is not served`);
    for await (const response of method.handle(bytes, contextOf(options))) return response;
    throw new Error('no answer');
  };
  return {
    clock,
    events,
    asked,
    entries,
    foreign,
    revocations,
    paths: methods.map(({ path }) => path),
    callBytes,
    async call(name, request, options) {
      const rpc = adminRpc(name);
      return decodeMessage(
        rpc.response,
        await callBytes(name, encodeMessage(rpc.request, request), options),
        MAX_BYTES,
      );
    },
    async *stream(name, request, options = {}) {
      const rpc = adminRpc(name);
      const method = byPath.get(rpc.path);
      if (method?.kind !== 'server-stream') throw new Error(`${name} is no stream`);
      for await (const bytes of method.handle(encodeMessage(rpc.request, request), contextOf(options))) {
        yield decodeMessage(rpc.response, bytes, MAX_BYTES);
      }
    },
  };
}

export function unixPeer(uid: number): Peer {
  const process = { pid: 4711, uid, gid: uid, exited: new AbortController().signal, close: () => undefined };
  return { kind: 'unix', connectionId: 1, process };
}

export function testEntry(entryId: string, path: string, more: Partial<RegistrationEntry> = {}): RegisteredEntry {
  const spiffeId = parseSpiffeId(`spiffe://example.test${path}`);
  const entry = { entryId, spiffeId, selectors: [parseSelector('unix:uid:1')], ...more };
  return { entry, source: 'api', revision: 0, createdAt: Date.UTC(2026, 0, 1) };
}

export function emptyBundle(trustDomain: string): TrustBundle {
  return { trustDomain: parseTrustDomain(trustDomain), x509Authorities: [], jwtAuthorities: [], sequence: 3 };
}

export function testSlot() {
  return {
    kind: 'x509',
    id: 'abc123',
    state: 'active',
    notBefore: Date.UTC(2026, 0, 1),
    notAfter: Date.UTC(2026, 0, 2),
    keyType: 'ec-p256',
    publishedSequence: 2,
    upstreamAuthorityId: 'ffee',
    waitingFor: ['node-1'],
  } as const;
}

export function testReport(more: Partial<StatusReport> = {}): StatusReport {
  return {
    version: '1.2.3',
    trustDomain: TRUST_DOMAIN,
    startedAt: Date.UTC(2026, 0, 1),
    authorities: [testSlot()],
    listeners: [{ name: 'workload', address: 'unix:/run/api.sock' }],
    policies: [{ name: 'default', state: 'failed', problem: 'rego' }],
    entries: { count: 2, stale: true, mistakeCount: 1 },
    revocations: { serialCount: 1, spiffeIdCount: 2, crlPublished: false },
    audit: { state: 'writing', required: true, file: '/var/log/audit.jsonl' },
    foreignBundleCount: 1,
    warnings: ['a warning'],
    envoys: [],
    ...more,
  };
}

/** The registry in little: it checks ids and asks about each change, and no more. */
function entryMap(entries: Map<string, RegisteredEntry>, now: () => number): EntryAdmin {
  const make = (draft: EntryDraft): RegisteredEntry => {
    const entryId = draft.entry_id === '' ? `made-${entries.size}` : String(draft.entry_id);
    const spiffeId = parseSpiffeId(typeof draft.spiffe_id === 'string' ? draft.spiffe_id : '');
    const selectors = (draft.selectors ?? []).map((text) => parseSelector(typeof text === 'string' ? text : ''));
    const ttl = typeof draft.x509_svid_ttl === 'number' ? draft.x509_svid_ttl : 0;
    const { dns_names: dnsNames = [], admin, downstream } = draft;
    const entry = {
      entryId,
      spiffeId,
      selectors,
      ...(ttl === 0 ? {} : { x509SvidTtlMs: ttl * 1000 }),
      ...(dnsNames.length === 0 ? {} : { dnsNames }),
      ...(admin === true ? { admin } : {}),
      ...(downstream === true ? { downstream } : {}),
    };
    return { entry, source: 'api', revision: 0, createdAt: now() };
  };
  const put = (made: readonly RegisteredEntry[], by: EntryAuthor): void => {
    for (const { entry } of made) {
      for (const version of [entries.get(entry.entryId)?.entry, entry])
        if (version !== undefined) by.mayChange?.(version);
    }
    for (const registered of made) entries.set(registered.entry.entryId, registered);
  };
  const find = (entryId: string): RegisteredEntry => {
    const found = entries.get(entryId);
    if (found === undefined) throw new SvidgateError('not_found', `there is no entry ${entryId}`);
    return found;
  };
  return {
    list: () => [...entries.values()].sort((a, b) => (a.entry.entryId < b.entry.entryId ? -1 : 1)),
    find: (entryId) => entries.get(entryId),
    async create(draft, by) {
      const made = make(draft);
      if (entries.has(made.entry.entryId)) throw new SvidgateError('already_exists', 'it is there');
      put([made], by);
      return made;
    },
    async update(entryId, { set, expectedRevision = find(entryId).revision }, by) {
      const before = find(entryId);
      if (expectedRevision !== before.revision) throw new SvidgateError('conflict', `revision ${before.revision}`);
      const { spiffeId, selectors } = before.entry;
      const made = make({ entry_id: entryId, spiffe_id: spiffeId, selectors, ...set });
      const after = { ...made, revision: before.revision + 1 };
      put([after], by);
      return after;
    },
    async delete(entryId, by) {
      const found = find(entryId);
      by.mayChange?.(found.entry);
      entries.delete(entryId);
      return found;
    },
    async import(drafts, by, { mode }) {
      const made = drafts.map(make);
      const index = mode === 'create' ? made.findIndex(({ entry }) => entries.has(entry.entryId)) : -1;
      if (index !== -1) return { mistakes: [{ index, code: 'already_exists', message: 'it is there' }] };
      put(made, by);
      return { entries: made };
    },
  };
}

export const VIEWER: AdminCaller = { uid: 1, role: 'viewer' };
export const REGISTRAR: AdminCaller = { uid: 2, role: 'registrar', pathPrefix: '/team-a' };
export const POLICY: AdminCaller = { uid: 3, role: 'policy' };
export const AUTHORITY: AdminCaller = { uid: 4, role: 'authority' };
export const ALL_CALLERS = [VIEWER, REGISTRAR, POLICY, AUTHORITY];
