import type { PolicyReport } from '../endpoints/admin/index.ts';
import { formatProblem, type PolicyStatus } from '../policy/index.ts';
import type { ServerParts } from './parts.ts';

const SHOWN_DIGEST_LENGTH = 12;

/** A configured policy as the admin API shows it. */
export function policyReport({ policies, evidence, config }: ServerParts, name: string): PolicyReport {
  const status = policies?.status.value.get(name);
  const { state = 'not_active', digest, revision, signedBy, hold, lastError } = status ?? {};
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
    ...(shadowOf === undefined ? {} : { shadowOf }),
    ...(unenforcedUntil === undefined ? {} : { unenforcedUntil }),
  };
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
export function readinessNote({ hold, lastError }: PolicyStatus): string | undefined {
  if (lastError !== undefined) return `an older one is in force, ${lastError.gate} refused the last: ${lastError.message}`;
  return hold === undefined ? undefined : `rolled back to ${hold.digest.slice(0, SHOWN_DIGEST_LENGTH)} by ${hold.by}`;
}
