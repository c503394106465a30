import { SvidgateError, type Clock, type Logger, type Metrics, type ReadonlyWatchable } from '../core/index.ts';
import type { IssuedStore } from '../datastore/index.ts';
import {
  pathOf,
  trustDomainOf,
  type JwtSvid,
  type SpiffeId,
  type TrustDomain,
  type X509Svid,
} from '../spiffe/index.ts';
import type { AuthoritySlots } from './authority-slots.ts';
import { issueJwtSvid } from './issue-jwt-svid.ts';
import { issueX509Svid, type SvidKeyType } from './issue-x509-svid.ts';
import type { SigningKey } from './key-manager.ts';
import type { SlotKeys } from './slot-keys.ts';
import type { AuthorityKind, Slot } from './slot.ts';

export interface X509SvidRequest {
  readonly spiffeId: SpiffeId;
  /** Default: the authority's own. */
  readonly ttlMs?: number | undefined;
  /** DNS SANs, which have been checked; the first is the common name, too. */
  readonly dnsNames?: readonly string[] | undefined;
  /** Remembered with the serial. */
  readonly entryId?: string | undefined;
}

export interface JwtSvidRequest {
  readonly spiffeId: SpiffeId;
  /** At least one, none of them empty. */
  readonly audience: readonly string[];
  /** Default: the authority's own. */
  readonly ttlMs?: number | undefined;
  /** Whether the token carries a random `jti`. Default false. */
  readonly includeJti?: boolean | undefined;
}

export interface SvidIssuer {
  issueX509Svid(request: X509SvidRequest): Promise<X509Svid>;
  issueJwtSvid(request: JwtSvidRequest): Promise<JwtSvid>;
}

export interface SvidIssuerOptions {
  readonly trustDomain: TrustDomain;
  readonly slots: AuthoritySlots;
  readonly keys: SlotKeys;
  readonly issued?: IssuedStore | undefined;
  readonly revocations?: ReadonlyWatchable<{ hasSpiffeId(id: SpiffeId): boolean }> | undefined;
  readonly x509SvidTtlMs: number;
  readonly jwtSvidTtlMs?: number | undefined;
  readonly svidKeyType?: SvidKeyType | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const DEFAULT_JWT_TTL_MS = 5 * 60_000;
const SHORTEST_TTL_MS = 1000;

/** Signs with the authority that is active, and only what may be handed out when it is signed. */
export function createSvidIssuer(options: SvidIssuerOptions): SvidIssuer {
  const { clock, logger, issued } = options;
  return {
    async issueX509Svid({ spiffeId, dnsNames, entryId, ttlMs = options.x509SvidTtlMs }) {
      const keyType = options.svidKeyType ?? 'ec-p256';
      const svid = await counted('x509', options, async () => {
        assertIssuable(spiffeId, ttlMs, options);
        return await signed('x509', options, (slot, key) =>
          issueX509Svid({ slot, key }, { spiffeId, dnsNames, keyType, ttlMs, now: clock.now() }),
        );
      });
      assertIssuable(spiffeId, ttlMs, options);
      const { serial, authorityId, notAfter } = svid;
      issued?.record({ serial, spiffeId, authorityId, notAfter, ...(entryId === undefined ? {} : { entryId }) });
      const fields = { spiffe_id: spiffeId, serial, ca_id: authorityId, expires_at: new Date(notAfter).toISOString() };
      logger.info(fields, 'x509-svid issued');
      return svid;
    },
    async issueJwtSvid({ spiffeId, audience, includeJti = false, ttlMs = options.jwtSvidTtlMs ?? DEFAULT_JWT_TTL_MS }) {
      const svid = await counted('jwt', options, async () => {
        assertIssuable(spiffeId, ttlMs, options);
        if (audience.length === 0 || audience.includes('')) {
          throw new SvidgateError('invalid_request', 'a JWT-SVID needs at least one audience, and none that is empty');
        }
        return await signed('jwt', options, (slot, key) =>
          issueJwtSvid({ slot, key }, { spiffeId, audience, includeJti, ttlMs, now: clock.now() }),
        );
      });
      assertIssuable(spiffeId, ttlMs, options);
      const fields = { spiffe_id: spiffeId, ca_id: svid.keyId, expires_at: new Date(svid.expiresAt).toISOString() };
      logger.info(fields, 'jwt-svid issued');
      return svid;
    },
  };
}

/** Asked before signing and again after it: the key may be far away, and revocations come at any time. */
function assertIssuable(spiffeId: SpiffeId, ttlMs: number, options: SvidIssuerOptions): void {
  if (!(ttlMs >= SHORTEST_TTL_MS)) throw new SvidgateError('invalid_request', 'an SVID lives for at least 1 s');
  if (trustDomainOf(spiffeId) !== options.trustDomain || pathOf(spiffeId) === '') {
    throw new SvidgateError('invalid_request', `${spiffeId} is not a workload of trust domain ${options.trustDomain}`);
  }
  if (options.revocations?.value.hasSpiffeId(spiffeId) === true) {
    throw new SvidgateError('no_identity', `${spiffeId} is revoked`);
  }
}

/**
 * Signs anew when the authority was tainted or revoked meanwhile: what is handed out is always trusted by the bundle that
 * is handed out with it.
 */
async function signed<T, K extends AuthorityKind>(
  kind: K,
  { slots, keys }: Pick<SvidIssuerOptions, 'slots' | 'keys'>,
  sign: (slot: Extract<Slot, { kind: K }>, key: SigningKey) => Promise<T>,
): Promise<T> {
  for (;;) {
    const slot = slots.active(kind);
    if (slot === undefined) throw new SvidgateError('authority_failed', `no ${kind} authority is active`);
    const result = await sign(slot, await keys.keyOf(slot));
    const state = slots.find(slot.id)?.state;
    if (state === 'active' || state === 'old') return result;
  }
}

async function counted<T>(type: AuthorityKind, { metrics }: SvidIssuerOptions, issue: () => Promise<T>): Promise<T> {
  let result = 'failed';
  try {
    const svid = await issue();
    result = 'issued';
    return svid;
  } catch (error) {
    const { code } = SvidgateError.from(error);
    if (code === 'invalid_request' || code === 'no_identity') throw error;
    const what = type === 'x509' ? 'X.509-SVID' : 'JWT-SVID';
    throw new SvidgateError('authority_failed', `no ${what} could be issued`, { cause: error });
  } finally {
    metrics.count('svidgate_svids_issued_total', { type, result });
  }
}
