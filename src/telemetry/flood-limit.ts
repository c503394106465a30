import type { AuditEvent, AuditLog, Clock } from '../core/index.ts';

/** What anybody who can connect causes, as often as they like, without having any right. */
const ANYBODYS: ReadonlySet<AuditEvent['event']> = new Set(['workload_attestation', 'call_refused']);

/** Lines that one user can cause in a minute by connecting and being refused. */
const MAX_PER_MINUTE = 600;
const MINUTE_MS = 60_000;
/** Users that are told apart at once; those beyond share one allowance. */
const MAX_USERS = 1000;
const OTHERS = -1;

interface Window {
  readonly startedAt: number;
  lines: number;
  leftOut: number;
}

/**
 * Keeps a user without any right from rotating the history of others away: of attestations and refusals one user gets 600
 * lines a minute, and then one line that says how many were left out. What is issued or changed is always recorded.
 */
export function limitFloods(audit: AuditLog, clock: Clock): AuditLog {
  const windows = new Map<number, Window>();

  const windowOf = (uid: number, now: number): Window => {
    const found = windows.get(uid);
    if (found !== undefined && now >= found.startedAt && now - found.startedAt < MINUTE_MS) return found;
    const fresh = { startedAt: now, lines: 0, leftOut: 0 };
    windows.set(uid, fresh);
    if (found !== undefined && found.leftOut > 0) tellOf(found.leftOut, uid);
    return fresh;
  };
  const tellOf = (count: number, uid: number): void => {
    const failure_reason = `overloaded: ${count} more lines about this user were left out`;
    const caller = uid === OTHERS ? {} : { uid };
    audit.record({ event: 'call_refused', method: 'audit', caller, result: 'failure', failure_reason });
  };
  const sweep = (now: number): void => {
    for (const [uid, { startedAt, leftOut }] of windows) {
      if (now >= startedAt && now - startedAt < MINUTE_MS) continue;
      windows.delete(uid);
      if (leftOut > 0) tellOf(leftOut, uid);
    }
  };

  return {
    record(event) {
      if (!ANYBODYS.has(event.event)) return audit.record(event);
      const now = clock.now();
      if (windows.size >= MAX_USERS) sweep(now);
      const uid = event.caller?.uid ?? OTHERS;
      const window = windowOf(windows.has(uid) || windows.size < MAX_USERS ? uid : OTHERS, now);
      window.lines += 1;
      if (window.lines > MAX_PER_MINUTE) window.leftOut += 1;
      else audit.record(event);
    },
  };
}
