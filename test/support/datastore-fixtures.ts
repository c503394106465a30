import fc from 'fast-check';
import type { Datastore, IssuedSvid, ShadowCount, StoredEntry } from '../../src/datastore/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  parseTrustDomain,
  REVOCATION_REASONS,
  type RegistrationEntry,
  type Revocation,
  type TrustBundle,
} from '../../src/spiffe/index.ts';

const DOMAIN = 'prod.acme.test';

/** Every field that an entry can have. */
export const FULL_ENTRY: Required<RegistrationEntry> = {
  entryId: 'web',
  spiffeId: parseSpiffeId(`spiffe://${DOMAIN}/web`),
  parentId: parseSpiffeId(`spiffe://${DOMAIN}/node`),
  selectors: [parseSelector('docker:label:käse:🧀'), parseSelector('unix:uid:1001')],
  x509SvidTtlMs: 3_600_000,
  jwtSvidTtlMs: 300_000,
  hint: 'main \u0000 \ud800',
  dnsNames: ['web.acme.test', '*.web.acme.test'],
  federatesWith: [parseTrustDomain('partner.test')],
  expiresAt: 2_000_000_000_000,
  jwtSvidIncludeJti: true,
  admin: false,
  downstream: false,
  storeSvid: true,
};

/** Every field that a bundle can have. */
export const FULL_BUNDLE: Required<TrustBundle> = {
  trustDomain: parseTrustDomain('full.test'),
  x509Authorities: [bytes(0, 255, 1), bytes(2)],
  jwtAuthorities: [{ keyId: 'k', publicKey: bytes(3, 4) }],
  revocationLists: [bytes(5), bytes()],
  sequence: Number.MAX_SAFE_INTEGER,
  refreshHintSeconds: 300,
};

function bytes(...values: readonly number[]): Uint8Array {
  return new Uint8Array(values);
}

export function storedEntry(entry: RegistrationEntry): StoredEntry {
  return { entry, revision: 0, createdAt: 1_800_000_000_000 };
}

export function bundleOf(trustDomain: string, sequence: number): TrustBundle {
  return { trustDomain: parseTrustDomain(trustDomain), x509Authorities: [bytes(1)], jwtAuthorities: [], sequence };
}

export function shadowCountOf(id: string): ShadowCount {
  return {
    id,
    policy: 'candidate',
    digest: 'd1',
    livePolicy: 'default',
    principal: `spiffe://${DOMAIN}/web`,
    method: 'GET',
    route: '/a',
    comparison: 'would_deny',
    live: 'allow',
    liveReason: '',
    candidate: 'deny',
    candidateReason: 'policy_denied',
    count: 1,
    firstSeen: 1_800_000_000_000,
    lastSeen: 1_800_000_000_001,
    sampleDecisionId: 'id',
  };
}

export function revocationOf(id: string, revokedAt: number): Revocation {
  const spiffeId = parseSpiffeId(`spiffe://${DOMAIN}/web`);
  const target: Revocation['target'] =
    id.length % 2 === 0
      ? { kind: 'spiffe_id', spiffeId }
      : { kind: 'serial', serial: 'abc', authorityId: 'aa', spiffeId, notAfter: 2_000_000_000_000 };
  return { id, target, reason: 'superseded', revokedAt };
}

export function issuedOf(serial: string): Required<IssuedSvid> {
  const spiffeId = parseSpiffeId(`spiffe://${DOMAIN}/web`);
  return { serial, spiffeId, entryId: 'web', authorityId: 'aa', notAfter: 2_000_000_000_000 };
}

/** What lists can show of a datastore. */
export interface DatastoreState {
  readonly entries: readonly StoredEntry[];
  readonly bundles: readonly TrustBundle[];
  readonly revocations: readonly Revocation[];
}

export async function readState(store: Datastore): Promise<DatastoreState> {
  return {
    entries: await store.entries.list(),
    bundles: await store.bundles.list(),
    revocations: await store.revocations.list(),
  };
}

export type Operation =
  | { readonly kind: 'entries'; readonly changes: Parameters<Datastore['entries']['apply']>[0] }
  | { readonly kind: 'bundle'; readonly bundle: TrustBundle }
  | { readonly kind: 'no bundle'; readonly trustDomain: TrustBundle['trustDomain'] }
  | { readonly kind: 'revocation'; readonly revocation: Revocation }
  | { readonly kind: 'no revocation'; readonly id: string }
  | { readonly kind: 'reload' }
  | { readonly kind: 'restart' };

const few = fc.constantFrom('a', 'b', 'c', 'D', '_');
const domain = fc.constantFrom('a.test', 'b.test').map(parseTrustDomain);
const entry = fc.record({ entryId: few, hint: fc.string({ unit: 'binary' }) }).map((fields): StoredEntry => {
  return { entry: { ...FULL_ENTRY, ...fields }, revision: fields.hint.length, createdAt: 1 };
});
const change = fc.oneof(
  entry.map((stored) => ({ kind: 'put', stored }) as const),
  few.map((entryId) => ({ kind: 'delete', entryId }) as const),
);

/** Sequences of operations on a handful of names. */
export const operations: fc.Arbitrary<readonly Operation[]> = fc.array(
  fc.oneof<fc.Arbitrary<Operation>[]>(
    fc.array(change, { maxLength: 6 }).map((changes) => ({ kind: 'entries', changes })),
    fc
      .record({ trustDomain: domain, x509Authorities: fc.array(fc.uint8Array()), sequence: fc.nat() })
      .map((fields) => ({ kind: 'bundle', bundle: { ...fields, jwtAuthorities: [] } })),
    domain.map((trustDomain) => ({ kind: 'no bundle', trustDomain })),
    fc
      .record({ id: few, revokedAt: fc.nat({ max: 5 }), reason: fc.constantFrom(...REVOCATION_REASONS) })
      .map((fields) => ({ kind: 'revocation', revocation: { ...revocationOf(fields.id, 0), ...fields } })),
    few.map((id) => ({ kind: 'no revocation', id })),
    fc.constant({ kind: 'reload' }),
    fc.constant({ kind: 'restart' }),
  ),
  { maxLength: 30 },
);

export async function runOnStore(store: Datastore, operation: Operation): Promise<void> {
  switch (operation.kind) {
    case 'entries':
      return await store.entries.apply(operation.changes);
    case 'bundle':
      return await store.bundles.put(operation.bundle);
    case 'no bundle':
      return await store.bundles.delete(operation.trustDomain);
    case 'revocation':
      return await store.revocations.put(operation.revocation);
    case 'no revocation':
      return await store.revocations.delete(operation.id);
    case 'reload':
      return await store.load(await store.dump());
    case 'restart':
      throw new TypeError('whoever opened it restarts it');
  }
}

/** The same in memory. */
export interface Model {
  readonly entries: Map<string, StoredEntry>;
  readonly bundles: Map<string, TrustBundle>;
  readonly revocations: Map<string, Revocation>;
}

export function runOnModel(steps: readonly Operation[]): Model {
  const model: Model = { entries: new Map(), bundles: new Map(), revocations: new Map() };
  for (const step of steps) applyToModel(model, step);
  return model;
}

function applyToModel(model: Model, operation: Operation): void {
  switch (operation.kind) {
    case 'entries':
      for (const change of operation.changes) {
        if (change.kind === 'put') model.entries.set(change.stored.entry.entryId, change.stored);
        else model.entries.delete(change.entryId);
      }
      break;
    case 'bundle':
      model.bundles.set(operation.bundle.trustDomain, operation.bundle);
      break;
    case 'no bundle':
      model.bundles.delete(operation.trustDomain);
      break;
    case 'revocation':
      model.revocations.set(operation.revocation.id, operation.revocation);
      break;
    case 'no revocation':
      model.revocations.delete(operation.id);
      break;
    case 'reload':
    case 'restart':
      break;
  }
}

export function expectedState({ entries, bundles, revocations }: Model): DatastoreState {
  const sorted = <T>(map: ReadonlyMap<string, T>): readonly T[] =>
    [...map].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, value]) => value);
  return {
    entries: sorted(entries),
    bundles: sorted(bundles),
    revocations: [...sorted(revocations)].sort((one, other) => one.revokedAt - other.revokedAt),
  };
}
