import { untilAborted, type Clock, type Logger, type Metrics } from '../core/index.ts';
import type { ShadowStore } from '../datastore/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import { ShadowBook } from './shadow-book.ts';
import { shadowReport, type ShadowReport, type ShadowReportFilter } from './shadow-report.ts';
import { ShadowTable } from './shadow-table.ts';
import { ShadowTrials, type PolicyTrials } from './shadow-trials.ts';
import { UnenforcedPolicies } from './unenforced-policies.ts';

/** A policy that does not decide, or not yet. */
export interface TrialPolicy {
  readonly name: string;
  readonly shadowOf?: string;
  /** Epoch milliseconds. */
  readonly unenforcedUntil?: number;
}

export interface PolicyEvidenceOptions {
  /** Others than trials may be among them. */
  readonly trials: readonly TrialPolicy[];
  readonly policies: Pick<PolicyEngine, 'decide' | 'status'>;
  readonly store: ShadowStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What is known of policies that are tried beside the live ones. */
export interface PolicyEvidence {
  /** For the gate. */
  readonly trials: PolicyTrials;
  /** Whether a policy decides nothing at this moment. */
  isTrial(policy: string): boolean;
  /** Names of policies that do not decide yet, with the time when they begin to, in epoch milliseconds. */
  readonly unenforced: ReadonlyMap<string, number>;
  /** Writes counts behind the answers until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
  report(filter: ShadowReportFilter): Promise<ShadowReport>;
  /** Whether the policy is tried, or was and has counts. */
  hasReport(policy: string): boolean;
  /** Forgets the counts of one policy, or of all. Throws `datastore_failed` when they are still on disk. */
  clear(policy?: string): Promise<void>;
}

/** Reads what was counted before, and says which policies let everything through. */
export async function openPolicyEvidence(options: PolicyEvidenceOptions): Promise<PolicyEvidence> {
  const { policies, clock, logger, metrics, store } = options;
  const shadows = new Map(
    options.trials.flatMap(({ name, shadowOf }) => (shadowOf === undefined ? [] : [[name, shadowOf]])),
  );
  const until = new Map(
    options.trials.flatMap(({ name, unenforcedUntil: at }) => (at === undefined ? [] : [[name, at]])),
  );
  const unenforced = new UnenforcedPolicies({ until, clock, logger, metrics });
  const table = new ShadowTable();
  const book = new ShadowBook({ table, store, policies, clock, logger, metrics });
  const trials = new ShadowTrials({ shadows, unenforced, policies, table, clock, logger, metrics });
  unenforced.announce();
  await book.load();
  return {
    trials,
    isTrial: (policy) => shadows.has(policy) || unenforced.has(policy),
    get unenforced() {
      return unenforced.all;
    },
    async run(signal) {
      signal.addEventListener('abort', () => trials.close(), { once: true });
      const watch = async (): Promise<void> => {
        // So that the log says it on time, also without a request.
        while (!signal.aborted && unenforced.all.size > 0) await untilAborted(signal, clock.sleep(1000, signal));
      };
      await Promise.all([book.run(signal), watch()]);
    },
    report: (filter) =>
      shadowReport(
        table.rows,
        [...shadows, ...[...until.keys()].map((name) => [name, name] as const)].map(([policy, livePolicy]) => {
          const digest = policies.status.value.get(policy)?.digest;
          return { policy, livePolicy, ...(digest === undefined ? {} : { digest }) };
        }),
        filter,
      ),
    hasReport: (policy) => shadows.has(policy) || until.has(policy) || table.has(policy),
    async clear(policy) {
      table.clear(policy);
      await book.writeOrThrow();
    },
  };
}
