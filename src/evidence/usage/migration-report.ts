import type { DecisionRecord } from '../records/decision-record.ts';
import { presenceOf, type OldCredential } from './old-credential.ts';

/** Who still sends an old credential, on the way from it to identities. */
export interface MigrationReport {
  /** All records that were read. */
  readonly read: number;
  readonly leftOut: { readonly anonymous: number; readonly otherPolicies: number };
  /** Records that do not say whether it was there: their policy does not look at it. */
  readonly unknown: number;
  readonly callers: readonly MigratingCaller[];
  /** Requests of kinds for which there was no room. */
  readonly others: number;
}

/** One principal; `unverified` stands for all that nobody verified: they have the old credential alone. */
export interface MigratingCaller {
  readonly principal: string;
  /** Requests that carried it, and that did not. */
  readonly withOld: number;
  readonly withoutOld: number;
  /** When it was seen last, as the record says. */
  readonly lastSeen?: string;
  /** Where it was seen, the most frequent first. */
  readonly routes: readonly MigratingRoute[];
}

export interface MigratingRoute {
  readonly method: string;
  readonly route: string;
  readonly count: number;
  /** Of them: allowed. */
  readonly allowed: number;
  readonly lastSeen: string;
}

export interface MigrationOptions {
  readonly credentials: readonly OldCredential[];
  /** Records of the policy with this name; default: of all. */
  readonly policy?: string;
  readonly signal: AbortSignal;
}

const MAX_CALLERS = 10_000;
const MAX_ROUTES = 1000;
const ALLOWED: ReadonlySet<string> = new Set(['allow', 'unenforced', 'dry_run']);

interface Caller {
  withOld: number;
  withoutOld: number;
  lastSeen: string;
  readonly routes: Map<string, { method: string; route: string; count: number; allowed: number; lastSeen: string }>;
}

/** Rejects with what reading records throws, or the signal's reason. */
export async function migrationReport(
  records: AsyncIterable<DecisionRecord>,
  { credentials, policy, signal }: MigrationOptions,
): Promise<MigrationReport> {
  const callers = new Map<string, Caller>();
  const leftOut = { anonymous: 0, otherPolicies: 0 };
  let [read, unknown, others] = [0, 0, 0];
  for await (const record of records) {
    signal.throwIfAborted();
    read += 1;
    const { svidgate } = record;
    if (policy !== undefined && svidgate.policy !== policy) leftOut.otherPolicies += 1;
    else if (svidgate.caller === 'anonymous') leftOut.anonymous += 1;
    else {
      const found = credentials.map((credential) => presenceOf(credential, record));
      if (!found.includes('present') && found.includes('unknown')) unknown += 1;
      else if (!count(callers, record, found.includes('present'))) others += 1;
    }
  }
  return { read, leftOut, unknown, others, callers: sorted(callers) };
}

/** False when there is no room. */
function count(callers: Map<string, Caller>, { svidgate, timestamp }: DecisionRecord, isPresent: boolean): boolean {
  const { principal, method, route, outcome } = svidgate;
  const caller = callers.get(principal) ?? { withOld: 0, withoutOld: 0, lastSeen: '', routes: new Map() };
  if (caller.withOld + caller.withoutOld === 0 && callers.size >= MAX_CALLERS) return false;
  callers.set(principal, caller);
  if (!isPresent) {
    caller.withoutOld += 1;
    return true;
  }
  caller.withOld += 1;
  caller.lastSeen = later(caller.lastSeen, timestamp);
  const key = `${method} ${route}`;
  const found = caller.routes.get(key) ?? { method, route, count: 0, allowed: 0, lastSeen: '' };
  if (found.count === 0 && caller.routes.size >= MAX_ROUTES) return false;
  caller.routes.set(key, found);
  found.count += 1;
  if (ALLOWED.has(outcome)) found.allowed += 1;
  found.lastSeen = later(found.lastSeen, timestamp);
  return true;
}

function later(one: string, other: string): string {
  return one > other ? one : other;
}

/** Those that use it most first. */
function sorted(callers: ReadonlyMap<string, Caller>): readonly MigratingCaller[] {
  return [...callers]
    .map(([principal, { withOld, withoutOld, lastSeen, routes }]) => ({
      principal,
      withOld,
      withoutOld,
      ...(lastSeen === '' ? {} : { lastSeen }),
      routes: [...routes.values()].sort((one, other) => other.count - one.count),
    }))
    .sort((one, other) => other.withOld - one.withOld || (one.principal < other.principal ? -1 : 1));
}
