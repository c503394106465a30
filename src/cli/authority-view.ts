import { int64ToBigInt, type svidgate } from '../proto/index.ts';
import { formatTable } from './table.ts';
import { formatWhen, isoTime } from './when.ts';

type Authority = svidgate.admin.v1.Authority;

/** In the order of the proto's enums, from 0. */
const KINDS = ['unknown', 'x509', 'jwt'] as const;
const STATES = ['unknown', 'prepared', 'active', 'old', 'tainted', 'revoked'] as const;

export function formatAuthorities(authorities: readonly Authority[], now: number): string {
  const byKind = authorities.toSorted((one, other) => one.kind - other.kind);
  const rows = byKind.map((authority) => [
    KINDS[authority.kind] ?? 'unknown',
    authority.authorityId,
    STATES[authority.state] ?? 'unknown',
    authority.keyType,
    formatWhen(authority.notAfter, now),
    authority.waitingFor.join(', '),
  ]);
  return formatTable(['KIND', 'AUTHORITY ID', 'STATE', 'KEY TYPE', 'ENDS', 'WAITING FOR'], rows);
}

export function authorityJson(authority: Authority): Readonly<Record<string, unknown>> {
  return {
    kind: KINDS[authority.kind] ?? 'unknown',
    authority_id: authority.authorityId,
    state: STATES[authority.state] ?? 'unknown',
    key_type: authority.keyType,
    not_before: isoTime(authority.notBefore),
    not_after: isoTime(authority.notAfter),
    published_sequence: Number(int64ToBigInt(authority.publishedSequence)),
    ...(authority.upstreamAuthorityId === '' ? {} : { upstream_authority_id: authority.upstreamAuthorityId }),
    waiting_for: authority.waitingFor,
  };
}
