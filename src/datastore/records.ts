import { SvidgateError } from '../core/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  parseTrustDomain,
  REVOCATION_REASONS,
  type JwtAuthority,
  type RegistrationEntry,
  type Revocation,
  type RevocationTarget,
  type SpiffeId,
  type TrustBundle,
} from '../spiffe/index.ts';
import type { IssuedSvid, PolicyEventRecord, ShadowCount, StoredEntry } from './datastore.ts';
import {
  encodeBytes,
  listOf,
  objectOf,
  oneOf,
  readBoolean,
  readBytes,
  readInteger,
  readText,
  type Reader,
} from './read-json.ts';

/*
 * The records as JSON: what stands in the tables and in a dump. Whatever is read becomes a value of a checked type here,
 * so a damaged or foreign record is refused and never half understood. Each reader throws a TypeError.
 */

const readSpiffeId: Reader<SpiffeId> = (value) => parseSpiffeId(readText(value));

const readEntry: Reader<RegistrationEntry> = objectOf<RegistrationEntry>(
  {
    entryId: readText,
    spiffeId: readSpiffeId,
    parentId: readSpiffeId,
    selectors: listOf((value) => parseSelector(readText(value))),
    x509SvidTtlMs: readInteger,
    jwtSvidTtlMs: readInteger,
    hint: readText,
    dnsNames: listOf(readText),
    federatesWith: listOf((value) => parseTrustDomain(readText(value))),
    expiresAt: readInteger,
    jwtSvidIncludeJti: readBoolean,
    admin: readBoolean,
    downstream: readBoolean,
    storeSvid: readBoolean,
  },
  [
    'parentId',
    'x509SvidTtlMs',
    'jwtSvidTtlMs',
    'hint',
    'dnsNames',
    'federatesWith',
    'expiresAt',
    'jwtSvidIncludeJti',
    'admin',
    'downstream',
    'storeSvid',
  ],
);

export const readStoredEntry: Reader<StoredEntry> = objectOf<StoredEntry>(
  { entry: readEntry, revision: readInteger, createdAt: readInteger },
  [],
);

export const readBundle: Reader<TrustBundle> = objectOf<TrustBundle>(
  {
    trustDomain: (value) => parseTrustDomain(readText(value)),
    x509Authorities: listOf(readBytes),
    jwtAuthorities: listOf(objectOf<JwtAuthority>({ keyId: readText, publicKey: readBytes }, [])),
    revocationLists: listOf(readBytes),
    sequence: readInteger,
    refreshHintSeconds: readInteger,
  },
  ['revocationLists', 'refreshHintSeconds'],
);

export function encodeBundle(bundle: TrustBundle): string {
  const { trustDomain, x509Authorities, jwtAuthorities, revocationLists, sequence, refreshHintSeconds } = bundle;
  return JSON.stringify({
    trustDomain,
    x509Authorities: x509Authorities.map(encodeBytes),
    jwtAuthorities: jwtAuthorities.map(({ keyId, publicKey }) => ({ keyId, publicKey: encodeBytes(publicKey) })),
    revocationLists: revocationLists?.map(encodeBytes),
    sequence,
    refreshHintSeconds,
  });
}

type SerialTarget = RevocationTarget & { readonly kind: 'serial' };
type SpiffeIdTarget = RevocationTarget & { readonly kind: 'spiffe_id' };

const readSerialTarget = objectOf<SerialTarget>(
  {
    kind: oneOf(['serial']),
    serial: readText,
    authorityId: readText,
    spiffeId: readSpiffeId,
    notAfter: readInteger,
    holderEnded: readBoolean,
  },
  ['authorityId', 'spiffeId', 'notAfter', 'holderEnded'],
);

const readSpiffeIdTarget = objectOf<SpiffeIdTarget>({ kind: oneOf(['spiffe_id']), spiffeId: readSpiffeId }, []);

export const readRevocation: Reader<Revocation> = objectOf<Revocation>(
  {
    id: readText,
    target: (value) => {
      const isSerial = typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'serial';
      return isSerial ? readSerialTarget(value) : readSpiffeIdTarget(value);
    },
    reason: oneOf(REVOCATION_REASONS),
    revokedAt: readInteger,
  },
  [],
);

export const readIssued: Reader<IssuedSvid> = objectOf<IssuedSvid>(
  { serial: readText, spiffeId: readSpiffeId, entryId: readText, authorityId: readText, notAfter: readInteger },
  ['entryId'],
);

export const readShadowCount: Reader<ShadowCount> = objectOf<ShadowCount>(
  {
    id: readText,
    policy: readText,
    digest: readText,
    livePolicy: readText,
    principal: readText,
    method: readText,
    route: readText,
    comparison: readText,
    live: readText,
    liveReason: readText,
    candidate: readText,
    candidateReason: readText,
    count: readInteger,
    firstSeen: readInteger,
    lastSeen: readInteger,
    sampleDecisionId: readText,
  },
  [],
);

export const readPolicyEvent: Reader<PolicyEventRecord> = objectOf<PolicyEventRecord>(
  {
    policy: readText,
    kind: oneOf(['activated', 'refused', 'rolled_back', 'released']),
    at: readInteger,
    source: readText,
    entrypoint: readText,
    by: readText,
    digest: readText,
    revision: readText,
    signedBy: readText,
    gate: readText,
    reason: readText,
    heldFrom: listOf(readText),
    forced: readBoolean,
  },
  ['digest', 'revision', 'signedBy', 'gate', 'reason', 'heldFrom', 'forced'],
);

/** The record as it will be read back. Throws `invalid_request` for one that could not be, before it is written. */
export function checkedRecord<T>(reader: Reader<T>, record: T, what: string): T {
  try {
    return reader(record);
  } catch (error) {
    throw new SvidgateError('invalid_request', `the ${what} cannot be stored`, { cause: error });
  }
}
