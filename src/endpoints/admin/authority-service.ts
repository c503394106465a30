import type { AuditCaller } from '../../core/index.ts';
import { msToTimestamp, type svidgate } from '../../proto/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminCall, AdminMethods } from './admin-call.ts';
import { enumField, textField } from './request-fields.ts';

/** In the order of the proto's enums, from 1. */
export const AUTHORITY_KINDS = ['x509', 'jwt'] as const;
export const AUTHORITY_STATES = ['prepared', 'active', 'old', 'tainted', 'revoked'] as const;

export type AuthorityKind = (typeof AUTHORITY_KINDS)[number];

/** One CA or JWT key, as the authority shows it. */
export interface AuthoritySlot {
  readonly kind: AuthorityKind;
  /** Hexadecimal subject key identifier of a CA, key id of a JWT key. */
  readonly id: string;
  readonly state: (typeof AUTHORITY_STATES)[number];
  /** Epoch milliseconds. */
  readonly notBefore: number;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  readonly keyType: string;
  /** Sequence number of the first bundle that had it. */
  readonly publishedSequence?: number;
  /** The upstream CA that signed it; absent when it signed itself. */
  readonly upstreamAuthorityId?: string;
  /** Who has not acknowledged the bundle with it. */
  readonly waitingFor?: readonly string[];
}

/** The CAs and JWT keys, and what an operator does to them. Each audits and stores before it returns. */
export interface AuthorityAdmin {
  slots(): readonly AuthoritySlot[];
  prepare(kind: AuthorityKind, by: AuditCaller): Promise<unknown>;
  /** Returns when it signs; the signal ends the waiting, not the activation. */
  activate(slot: AuthorityName, by: AuditCaller, signal: AbortSignal): Promise<unknown>;
  taint(slot: AuthorityName, by: AuditCaller): Promise<unknown>;
  revoke(slot: AuthorityName, by: AuditCaller): Promise<unknown>;
}

export interface AuthorityName {
  readonly kind: AuthorityKind;
  readonly id: string;
}

type AuthorityInit = svidgate.admin.v1.AuthorityInit;
type ListInit = svidgate.admin.v1.ListAuthoritiesResponseInit;

/** AuthorityAdmin of the admin API. Each method answers with all authorities as they are then. */
export function authorityMethods(methods: AdminMethods, authorities: AuthorityAdmin): readonly GrpcMethod[] {
  const list = (): ListInit => ({ authorities: authorities.slots().map(toAuthority) });
  const change = (
    name: 'activateAuthority' | 'taintAuthority' | 'revokeAuthority',
    act: (slot: AuthorityName, call: AdminCall) => Promise<unknown>,
  ): GrpcMethod =>
    methods.unary(name, async (request, call) => {
      const kind = enumField('kind', request.kind, AUTHORITY_KINDS);
      const id = authorityIdField(request.authorityId);
      call.about({ authority_id: id });
      await act({ kind, id }, call);
      return list();
    });
  return [
    methods.unary('listAuthorities', list),
    methods.unary('prepareAuthority', async (request, call) => {
      await authorities.prepare(enumField('kind', request.kind, AUTHORITY_KINDS), call.caller);
      return list();
    }),
    change('activateAuthority', (slot, { caller, signal }) => authorities.activate(slot, caller, signal)),
    change('taintAuthority', (slot, { caller }) => authorities.taint(slot, caller)),
    change('revokeAuthority', (slot, { caller }) => authorities.revoke(slot, caller)),
  ];
}

export function toAuthority(slot: AuthoritySlot): AuthorityInit {
  return {
    kind: AUTHORITY_KINDS.indexOf(slot.kind) + 1,
    authorityId: slot.id,
    state: AUTHORITY_STATES.indexOf(slot.state) + 1,
    notBefore: msToTimestamp(slot.notBefore),
    notAfter: msToTimestamp(slot.notAfter),
    keyType: slot.keyType,
    publishedSequence: slot.publishedSequence ?? 0,
    upstreamAuthorityId: slot.upstreamAuthorityId ?? '',
    waitingFor: slot.waitingFor ?? [],
  };
}

function authorityIdField(value: string): string {
  const expected = 'the id of an authority, as `svidgate authority show` prints it';
  return textField('authority_id', value, { max: 128, pattern: /^[A-Za-z0-9_-]+$/, expected });
}
