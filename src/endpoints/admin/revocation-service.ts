import type { AuditCaller } from '../../core/index.ts';
import { msToTimestamp, type svidgate } from '../../proto/index.ts';
import {
  pathOf,
  REVOCATION_REASONS,
  trustDomainOf,
  type Revocation,
  type RevocationReason,
  type RevocationTarget,
  type TrustDomain,
} from '../../spiffe/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminMethods } from './admin-call.ts';
import { pageOf, sortedBy } from './page.ts';
import { enumField, invalidField, spiffeIdField, textField } from './request-fields.ts';

/** What is revoked. Each change is audited and stored before it returns. */
export interface RevocationAdmin {
  list(): readonly Revocation[];
  /** Revoking twice gives the first one again. */
  revoke(
    request: { readonly target: RevocationTarget; readonly reason: RevocationReason },
    by: AuditCaller,
  ): Promise<Revocation>;
  /** Throws `not_found`. */
  undo(id: string, by: AuditCaller): Promise<Revocation>;
}

export interface RevocationServiceOptions {
  readonly revocations: RevocationAdmin;
  /** Whether there is a bundle of the trust domain, so that the gate can meet its SVIDs. */
  readonly isKnown: (trustDomain: TrustDomain) => boolean;
}

/** RFC 5280 §4.1.2.2: at most 20 octets; some CAs write one more for the sign. */
const MAX_SERIAL_DIGITS = 42;

/** SvidAdmin of the admin API. */
export function revocationMethods(methods: AdminMethods, options: RevocationServiceOptions): readonly GrpcMethod[] {
  const { revocations, isKnown } = options;
  return [
    methods.unary('listRevocations', (request) => {
      const all = sortedBy(revocations.list(), keyOf);
      const page = pageOf(all, request, { keyOf });
      const items = page.items.map(toRevocation);
      return { revocations: items, nextPageToken: page.nextPageToken, totalCount: all.length };
    }),
    methods.unary('revoke', async (request, call) => {
      const target = targetField(request, isKnown);
      const reason = enumField('reason', request.reason, REVOCATION_REASONS);
      call.about(target.kind === 'serial' ? { serial: target.serial } : { spiffe_id: target.spiffeId });
      return toRevocation(await revocations.revoke({ target, reason }, call.caller));
    }),
    methods.unary('undoRevocation', async (request, call) => {
      const expected = 'the id of a revocation, as `svidgate svid revocations` prints it';
      const limits = { max: 255, pattern: /^[A-Za-z0-9._:-]+$/, expected };
      const id = textField('revocation_id', request.revocationId, limits);
      const undone = await revocations.undo(id, call.caller);
      const { target } = undone;
      call.about(target.kind === 'serial' ? { serial: target.serial } : { spiffe_id: target.spiffeId });
      return toRevocation(undone);
    }),
  ];
}

/** Oldest first, and unique. */
function keyOf({ revokedAt, id }: Revocation): string {
  return `${String(revokedAt).padStart(16, '0')} ${id}`;
}

function targetField(
  request: svidgate.admin.v1.RevokeRequest,
  isKnown: (trustDomain: TrustDomain) => boolean,
): RevocationTarget {
  switch (request.target) {
    case 'serial':
      return { kind: 'serial', serial: parseSerial(request.serial ?? '') };
    case 'spiffeId': {
      const spiffeId = spiffeIdField('spiffe_id', request.spiffeId ?? '');
      if (pathOf(spiffeId) === '') {
        throw invalidField('spiffe_id', 'a trust domain cannot be revoked: expected a SPIFFE ID with a path');
      }
      const trustDomain = trustDomainOf(spiffeId);
      if (!isKnown(trustDomain)) throw invalidField('spiffe_id', `there is no bundle of trust domain ${trustDomain}`);
      return { kind: 'spiffe_id', spiffeId };
    }
    case undefined:
      throw invalidField('target', 'missing: expected serial or spiffe_id');
  }
}

/** As openssl and Envoy print serials: hexadecimal, maybe with colons between the bytes, in either case. */
function parseSerial(text: string): string {
  const expected = 'a serial number in hexadecimal, such as 5f0c or 5F:0C';
  const digits = textField('serial', text, {
    max: 3 * MAX_SERIAL_DIGITS,
    pattern: /^(?:[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+|[0-9A-Fa-f]+)$/,
    expected,
  }).replaceAll(':', '');
  const serial = digits.toLowerCase().replace(/^0+/, '');
  if (serial === '') throw invalidField('serial', 'no SVID has the serial 0');
  if (serial.length > MAX_SERIAL_DIGITS) throw invalidField('serial', `longer than ${MAX_SERIAL_DIGITS} digits`);
  return serial;
}

function toRevocation({ id, target, reason, revokedAt }: Revocation): svidgate.admin.v1.RevocationInit {
  const about =
    target.kind === 'spiffe_id'
      ? { spiffeId: target.spiffeId }
      : {
          serial: target.serial,
          spiffeId: target.spiffeId ?? '',
          authorityId: target.authorityId ?? '',
          ...(target.notAfter === undefined ? {} : { notAfter: msToTimestamp(target.notAfter) }),
        };
  return {
    ...about,
    revocationId: id,
    reason: REVOCATION_REASONS.indexOf(reason) + 1,
    revokedAt: msToTimestamp(revokedAt),
  };
}
