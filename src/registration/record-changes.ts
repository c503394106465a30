import type { AuditCaller, AuditEvent, AuditLog } from '../core/index.ts';
import type { StagedChange } from './entry-table.ts';
import { inPages } from './pages.ts';

/** What caused the changes. */
export interface ChangeCause {
  readonly method: string;
  readonly caller?: AuditCaller;
}

/** Puts each change into the audit log, before it happens. Throws `audit_failed`: then none of them must happen. */
export async function recordChanges(
  audit: AuditLog,
  changes: readonly StagedChange[],
  cause: ChangeCause,
): Promise<void> {
  for await (const change of inPages(changes)) audit.record({ ...eventOf(change), ...cause, result: 'success' });
}

/** Takes back what recordChanges has said: none of the changes has happened. The failure itself is what matters. */
export function recordFailure(
  audit: AuditLog,
  changes: readonly StagedChange[],
  cause: ChangeCause & { readonly failure_reason: string },
): void {
  try {
    for (const change of changes) audit.record({ ...eventOf(change), ...cause, result: 'failure' });
  } catch {
    // The audit log has reported itself; the caller hears of the failure that came first.
  }
}

export function changeKind({ before, after }: StagedChange): 'created' | 'updated' | 'deleted' {
  if (after === undefined) return 'deleted';
  return before === undefined ? 'created' : 'updated';
}

type ChangeEvent = Pick<
  Extract<AuditEvent, { readonly event: 'entry_changed' }>,
  'event' | 'change' | 'entry_id' | 'spiffe_id'
>;

function eventOf(change: StagedChange): ChangeEvent {
  const entry = (change.after ?? change.before)?.entry;
  return {
    event: 'entry_changed',
    change: changeKind(change),
    ...(entry === undefined ? {} : { entry_id: entry.entryId, spiffe_id: entry.spiffeId }),
  };
}
