import { randomUUID } from 'node:crypto';
import { SvidgateError } from '../core/index.ts';
import { signCompactJws } from '../pki/index.ts';
import type { JwtSvid, SpiffeId } from '../spiffe/index.ts';
import type { SigningKey } from './key-manager.ts';
import type { JwtSlot } from './slot.ts';

/** Signs one JWT-SVID (JWT-SVID §2, §3) with the key; `exp` is never later than the key's end. */
export async function issueJwtSvid(
  authority: { readonly slot: JwtSlot; readonly key: SigningKey },
  request: {
    readonly spiffeId: SpiffeId;
    readonly audience: readonly string[];
    readonly includeJti: boolean;
    readonly ttlMs: number;
    readonly now: number;
  },
): Promise<JwtSvid> {
  const { slot, key } = authority;
  const { spiffeId, audience, now } = request;
  // NumericDate in whole seconds. A token may live up to a second longer than asked for, never longer than the key.
  const iat = Math.floor(now / 1000);
  const exp = Math.min(Math.ceil((now + request.ttlMs) / 1000), Math.floor(slot.notAfter / 1000));
  if (exp <= now / 1000) throw new SvidgateError('authority_failed', `JWT key ${slot.id} has ended`);
  const claims = {
    sub: spiffeId,
    aud: audience,
    exp,
    iat,
    ...(request.includeJti ? { jti: randomUUID() } : {}),
  };
  const token = await signCompactJws(key, { keyId: slot.id, claims });
  return { spiffeId, token, issuedAt: iat * 1000, expiresAt: exp * 1000, keyId: slot.id };
}
