import type { PolicyReport } from '../endpoints/admin/index.ts';
import { formatProblem, type PolicyStatus, type SourceStatus } from '../policy/index.ts';
import { offloadReport } from './offload-report.ts';
import type { ServerParts } from './parts.ts';

const SHOWN_DIGEST_LENGTH = 12;

/** A configured policy as the admin API shows it. */
export function policyReport(parts: ServerParts, name: string): PolicyReport {
  const { policies, evidence, config } = parts;
  const status = policies?.status.value.get(name);
  const { state = 'not_active', digest, revision, signedBy, hold, source, lastError } = status ?? {};
  const shadowOf = config.authz?.policies.get(name)?.shadowOf;
  const unenforcedUntil = evidence?.unenforced.get(name);
  return {
    name,
    state,
    ...(digest === undefined ? {} : { revision: digest }),
    ...(revision === undefined ? {} : { bundleRevision: revision }),
    ...(signedBy === undefined ? {} : { signedBy }),
    ...(lastError === undefined
      ? {}
      : { problem: lastError.message, refusedBy: lastError.gate, mistakes: lastError.problems.map(formatProblem) }),
    ...(hold === undefined ? {} : { hold }),
    ...(source === undefined ? {} : { source: sourceReport(source) }),
    ...(shadowOf === undefined ? {} : { shadowOf }),
    ...(unenforcedUntil === undefined ? {} : { unenforcedUntil }),
    ...offloadReport(parts, name),
  };
}

function sourceReport({ description: address, ...source }: SourceStatus): NonNullable<PolicyReport['source']> {
  return { ...source, address };
}

/** Sources that do not answer as they should. */
export function sourceWarnings({ policies }: ServerParts): readonly string[] {
  return [...(policies?.status.value ?? [])].flatMap(([name, { source }]) => {
    const text = source === undefined ? undefined : sourceNote(source);
    return text === undefined ? [] : [`policy ${name}: ${text}`];
  });
}

/** Undefined while all is well. */
function sourceNote({ description, fromDisk, lastContactAt, lastError }: SourceStatus): string | undefined {
  if (!fromDisk && lastError === undefined) return undefined;
  const since = lastContactAt === undefined ? 'yet' : `since ${new Date(lastContactAt).toISOString()}`;
  const kept = fromDisk ? ', and what is there was kept on disk' : '';
  return `${description} has given nothing good ${since}${kept}: ${lastError ?? 'it has not answered yet'}`;
}

/** Policies whose source is not followed. */
export function heldWarnings({ policies }: ServerParts): readonly string[] {
  return [...(policies?.status.value ?? [])].flatMap(([name, { hold }]) => {
    if (hold === undefined) return [];
    const digest = hold.digest.slice(0, SHOWN_DIGEST_LENGTH);
    const since = new Date(hold.since).toISOString();
    return [`policy ${name} was rolled back to ${digest} by ${hold.by} at ${since}: what its source offers waits`];
  });
}

/** What whoever sends requests our way may want to know of a policy that decides all the same. */
export function readinessNote({ hold, source, lastError }: PolicyStatus): string | undefined {
  if (lastError !== undefined)
    return `an older one is in force, ${lastError.gate} refused the last: ${lastError.message}`;
  const note = source === undefined ? undefined : sourceNote(source);
  if (note !== undefined) return note;
  return hold === undefined ? undefined : `rolled back to ${hold.digest.slice(0, SHOWN_DIGEST_LENGTH)} by ${hold.by}`;
}
