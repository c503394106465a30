import { describeError, type AuditCaller, type AuditLog, type Clock } from '../core/index.ts';
import type { JwtSvid, RegistrationEntry, SpiffeId } from '../spiffe/index.ts';

/** Signs JWT-SVIDs; the authority's part that identity needs. */
export interface JwtSvidIssuer {
  issueJwtSvid(request: {
    readonly spiffeId: SpiffeId;
    readonly audience: readonly string[];
    readonly ttlMs?: number | undefined;
    readonly includeJti?: boolean | undefined;
  }): Promise<JwtSvid>;
}

export interface JwtSvidsOptions {
  readonly issuer: JwtSvidIssuer;
  /** Whether tokens of this key may still be handed out. */
  readonly isKeyTrusted: (keyId: string) => boolean;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

export interface JwtSvidRequest {
  readonly entry: RegistrationEntry;
  readonly audience: readonly string[];
  readonly caller: AuditCaller | undefined;
}

/** A token for one entry and audience: the one issued last until half of its life is over, unless it carries a `jti`. */
export type JwtSvids = (request: JwtSvidRequest) => Promise<JwtSvid>;

/** Tokens kept for all callers together; the one used longest ago goes first. */
const MAX_KEPT = 10_000;

/** A token that is larger, with what was asked for, is not kept: the caller chooses the audiences, and so the memory. */
const MAX_KEPT_LENGTH = 8192;

export function createJwtSvids(options: JwtSvidsOptions): JwtSvids {
  const { clock } = options;
  const kept = new Map<string, JwtSvid>();
  const underWay = new Map<string, Promise<JwtSvid>>();

  const isFresh = (svid: JwtSvid): boolean => {
    const now = clock.now();
    return now >= svid.issuedAt && now < svid.issuedAt + (svid.expiresAt - svid.issuedAt) / 2;
  };
  const keep = (key: string, svid: JwtSvid): void => {
    if (key.length + svid.token.length > MAX_KEPT_LENGTH) return;
    kept.delete(key);
    const [oldest] = kept.keys();
    if (kept.size >= MAX_KEPT && oldest !== undefined) kept.delete(oldest);
    kept.set(key, svid);
  };

  return async (request) => {
    if (request.entry.jwtSvidIncludeJti === true) return issue(request, options, false);
    const key = cacheKey(request);
    const found = kept.get(key);
    if (found !== undefined && isFresh(found) && options.isKeyTrusted(found.keyId)) {
      keep(key, found);
      return found;
    }
    const running =
      underWay.get(key) ?? issue(request, options, found !== undefined).finally(() => underWay.delete(key));
    underWay.set(key, running);
    const svid = await running;
    keep(key, svid);
    return svid;
  };
}

function cacheKey({ entry, audience }: JwtSvidRequest): string {
  return JSON.stringify([entry.entryId, entry.spiffeId, entry.jwtSvidTtlMs ?? null, audience]);
}

async function issue(request: JwtSvidRequest, options: JwtSvidsOptions, rotation: boolean): Promise<JwtSvid> {
  const { entry, audience, caller } = request;
  const { audit, clock } = options;
  const startedAt = clock.now();
  const event = () =>
    ({
      event: 'svid_issued',
      svid_type: 'jwt',
      rotation,
      method: 'identity',
      ...(caller === undefined ? {} : { caller }),
      spiffe_id: entry.spiffeId,
      entry_id: entry.entryId,
      audience,
      duration_ms: clock.now() - startedAt,
    }) as const;
  let svid: JwtSvid;
  try {
    const { spiffeId, jwtSvidTtlMs: ttlMs, jwtSvidIncludeJti: includeJti } = entry;
    svid = await options.issuer.issueJwtSvid({ spiffeId, audience, ttlMs, includeJti });
  } catch (error) {
    audit.record({ ...event(), result: 'failure', failure_reason: describeError(error) });
    throw error;
  }
  // Throws when it must be recorded and cannot: then nobody sees the token.
  audit.record({
    ...event(),
    result: 'success',
    serial: svid.keyId,
    expires_at: new Date(svid.expiresAt).toISOString(),
    ttl_seconds: Math.round((svid.expiresAt - svid.issuedAt) / 1000),
  });
  return svid;
}
