import { SvidgateError } from '../../core/index.ts';
import type { AdminRpcName } from '../../proto/index.ts';
import { pathOf, type RegistrationEntry } from '../../spiffe/index.ts';

/**
 * What a caller may do: `viewer` reads; `registrar` reads, and changes the entries of some paths; `policy` reads, and changes
 * policies; `authority` does everything.
 */
export type AdminRole = 'viewer' | 'registrar' | 'policy' | 'authority';

/** One row of the list of callers. Several rows of one uid add up. */
export interface AdminCaller {
  readonly uid: number;
  readonly role: AdminRole;
  /**
   * Registrars only: the SPIFFE ID paths that they may touch. `/team-a` stands for itself and what is below it, `/team-a/`
   * for what is below it; all paths when absent.
   */
  readonly pathPrefix?: string;
}

/** What a method asks of its caller. */
export type Need = 'read' | 'entries' | 'policies' | 'authority';

/** Every method of the admin API. One that is missing here is refused to everybody. */
export const NEEDS: Readonly<Record<AdminRpcName, Need>> = {
  listEntries: 'read',
  getEntry: 'read',
  createEntry: 'entries',
  updateEntry: 'entries',
  deleteEntry: 'entries',
  importEntries: 'entries',
  listAuthorities: 'read',
  prepareAuthority: 'authority',
  activateAuthority: 'authority',
  taintAuthority: 'authority',
  revokeAuthority: 'authority',
  listBundles: 'read',
  getBundle: 'read',
  setBundle: 'authority',
  deleteBundle: 'authority',
  listRevocations: 'read',
  revoke: 'authority',
  undoRevocation: 'authority',
  getStatus: 'read',
  watchStatus: 'read',
  explainAttestation: 'read',
  getShadowReport: 'read',
  clearShadowReport: 'policies',
  getPolicyHistory: 'read',
  rollBackPolicy: 'policies',
  releasePolicy: 'policies',
  backup: 'authority',
};

const ROLES: Readonly<Record<Need, readonly AdminRole[]>> = {
  read: ['viewer', 'registrar', 'policy', 'authority'],
  entries: ['registrar', 'authority'],
  policies: ['policy', 'authority'],
  authority: ['authority'],
};

/** Linux shows every user that our user namespace does not know under this uid: it is nobody in particular. */
const OVERFLOW_UID = 65_534;

/** The right to one call. */
export interface Grant {
  /** The roles that it comes from, for the audit log, such as `viewer` or `registrar:/team-a`. */
  readonly role: string;
  /**
   * Throws `permission_denied` unless the caller may make, change or delete such an entry. An entry that names more than
   * a SPIFFE ID path is for the role `authority` alone.
   */
  readonly assertMayChange: (entry: RegistrationEntry) => void;
}

/** All roles of a user, for the audit log; `none` without any. */
export function rolesOf(uid: number, callers: readonly AdminCaller[]): string {
  return rowsOf(uid, callers).map(describeRow).join(',') || 'none';
}

/**
 * Lets a user make a call. Throws `permission_denied`, which names what the user is and what the method needs.
 */
export function authorize(name: string, uid: number, callers: readonly AdminCaller[]): Grant {
  const need = Object.hasOwn(NEEDS, name) ? NEEDS[name as AdminRpcName] : undefined;
  const roles = need === undefined ? [] : ROLES[need];
  const rows = rowsOf(uid, callers).filter(({ role }) => roles.includes(role));
  if (rows.length === 0) {
    const has = rolesOf(uid, callers);
    const what = has === 'none' ? 'has no role' : `has the role ${has}`;
    throw new SvidgateError(
      'permission_denied',
      `user ${uid} ${what}; ${name} needs ${roles.join(' or ') || 'none that exists'}`,
    );
  }
  const role = rows.map(describeRow).join(',');
  const isAuthority = rows.some((row) => row.role === 'authority');
  return {
    role,
    assertMayChange(entry) {
      const problem = isAuthority ? undefined : outOfReach(entry, rows);
      if (problem === undefined) return;
      throw new SvidgateError(
        'permission_denied',
        `the role ${role} does not reach entry ${entry.entryId}: ${problem}`,
      );
    },
  };
}

/** Why no row lets the caller change the entry. */
function outOfReach(entry: RegistrationEntry, rows: readonly AdminCaller[]): string | undefined {
  const path = pathOf(entry.spiffeId);
  if (!rows.some((row) => row.role === 'registrar' && isBelow(path, row.pathPrefix ?? '/'))) {
    return `it gives ${entry.spiffeId}`;
  }
  if (entry.dnsNames !== undefined) return 'it gives DNS names, which no path prefix bounds';
  if (entry.admin === true) return 'it makes its holders administrators';
  if (entry.downstream === true) return 'it makes its holder a downstream server';
  return undefined;
}

function rowsOf(uid: number, callers: readonly AdminCaller[]): readonly AdminCaller[] {
  return uid === OVERFLOW_UID ? [] : callers.filter((caller) => caller.uid === uid);
}

/** By whole segments: `/team-a` is not the start of `/team-ab`. */
function isBelow(path: string, prefix: string): boolean {
  if (prefix.endsWith('/')) return path.startsWith(prefix) && path.length > prefix.length;
  return path === prefix || path.startsWith(`${prefix}/`);
}

function describeRow({ role, pathPrefix }: AdminCaller): string {
  return role === 'registrar' && pathPrefix !== undefined ? `registrar:${pathPrefix}` : role;
}
