import type { svidgate } from '../proto/index.ts';
import { offloadJson } from './offload-status-view.ts';
import { policySourceJson } from './policy-source-view.ts';
import { formatFields, formatTable } from './table.ts';
import { formatWhen, isoTime } from './when.ts';

type Event = svidgate.admin.v1.PolicyEvent;
type Status = svidgate.admin.v1.PolicyStatus;

const SHOWN_DIGEST_LENGTH = 12;
const COLUMNS = ['POLICY', 'WHEN', 'EVENT', 'DIGEST', 'REVISION', 'SIGNED BY', 'BY', 'KEPT', 'WHY'];

/** Newest first, as they come. */
export function formatPolicyHistory(events: readonly Event[], now: number): string {
  const rows = events.map((event) => [
    event.policy,
    formatWhen(event.at, now),
    kindText(event),
    event.digest.slice(0, SHOWN_DIGEST_LENGTH),
    event.bundleRevision,
    event.signedBy,
    event.by,
    event.kept ? 'yes' : '',
    event.reason,
  ]);
  return formatTable(COLUMNS, rows, 'nothing has happened yet');
}

function kindText({ kind, refusedBy, forced }: Event): string {
  const name = kind.replace('_', ' ');
  if (refusedBy !== '') return `${name} (${refusedBy})`;
  return forced ? `${name} (forced)` : name;
}

export function policyEventJson(event: Event): object {
  const { policy, kind, digest, bundleRevision, signedBy, source, entrypoint, by, refusedBy, reason, kept } = event;
  return {
    policy,
    event: kind,
    at: isoTime(event.at),
    ...(digest === '' ? {} : { digest }),
    ...(bundleRevision === '' ? {} : { bundle_revision: bundleRevision }),
    ...(signedBy === '' ? {} : { signed_by: signedBy }),
    source,
    entrypoint,
    by,
    ...(refusedBy === '' ? {} : { refused_by: refusedBy }),
    ...(reason === '' ? {} : { reason }),
    kept,
    ...(event.forced ? { forced: true } : {}),
  };
}

/** What is in force after a rollback, or after its end. */
export function formatPolicyInForce(status: Status): string {
  const { name, state, revision, bundleRevision, hold, problem, refusedBy, mistakes } = status;
  return formatFields({
    Policy: name,
    State: state,
    Digest: revision,
    Revision: bundleRevision,
    Held: hold === null ? '' : `by ${hold.by} until its source offers something else`,
    'Not in force': problem === '' ? '' : `${refusedBy}: ${problem}`,
    Mistakes: mistakes,
  });
}

/** A policy of `svidgate status`, as JSON. */
export function policyStatusJson(status: Status): object {
  const { name, state, revision, problem, shadowOf, unenforcedUntil, bundleRevision, signedBy, refusedBy } = status;
  const { hold, source, mistakes, offload } = status;
  return {
    name,
    state,
    ...(shadowOf === '' ? {} : { shadow_of: shadowOf }),
    ...(unenforcedUntil === null ? {} : { unenforced_until: isoTime(unenforcedUntil) }),
    ...(revision === '' ? {} : { revision }),
    ...(bundleRevision === '' ? {} : { bundle_revision: bundleRevision }),
    ...(signedBy === '' ? {} : { signed_by: signedBy }),
    ...(problem === '' ? {} : { problem }),
    ...(refusedBy === '' ? {} : { refused_by: refusedBy }),
    ...(mistakes.length === 0 ? {} : { mistakes }),
    ...(offload === null ? {} : { offload: offloadJson(offload) }),
    ...(source === null ? {} : { source: policySourceJson(source) }),
    ...(hold === null
      ? {}
      : {
          held: {
            since: isoTime(hold.since),
            by: hold.by,
            from: hold.from,
            ...(hold.reason === '' ? {} : { reason: hold.reason }),
          },
        }),
  };
}
