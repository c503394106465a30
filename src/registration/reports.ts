import { isDeepStrictEqual } from 'node:util';
import type { Mistake } from '../config/index.ts';
import type { LogFields } from '../core/index.ts';
import type { RegistrationEntry } from '../spiffe/index.ts';
import type { StagedChange } from './entry-table.ts';
import type { RefusedEntry } from './file-merge.ts';
import { changeKind } from './record-changes.ts';
import type { RegistryOptions } from './registry.ts';
import { isLive } from './snapshot.ts';

/** Of one kind for each change: a file of another sort, put there by accident, would fill the log. */
const MAX_LOGGED = 10;

/** What the registry tells the log and the metrics. */
export class EntryReports {
  readonly #options: RegistryOptions;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  apiChanged(changes: readonly StagedChange[]): void {
    const { logger } = this.#options;
    if (changes.length > MAX_LOGGED) logger.info({ count: changes.length }, 'entries changed by the api');
    else {
      for (const change of changes) {
        const entry = (change.after ?? change.before)?.entry;
        if (entry !== undefined) logger.info(fieldsOf(entry), `entry ${changeKind(change)}`);
      }
    }
    this.#warnOfProgramsOnly(addedBy(changes));
  }

  fileTaken(
    changes: readonly StagedChange[],
    { refused, before }: { readonly refused: readonly RefusedEntry[]; readonly before: readonly RefusedEntry[] },
  ): void {
    const { file = '', logger, foreignTrustDomains } = this.#options;
    const added = addedBy(changes);
    if (changes.length > 0) logger.info({ file, count: changes.length }, 'entries of the file in force');
    this.#warnOfProgramsOnly(added);
    const known = new Set(before.map(({ entry, reason }) => `${entry.entryId} ${reason}`));
    const news = refused.filter(({ entry, reason }) => !known.has(`${entry.entryId} ${reason}`));
    this.#warnOfEach(news, ({ entry, reason }) => ({
      message: 'entry of the file refused, it stands in the way of another one',
      fields: { file, ...fieldsOf(entry), reason },
    }));
    const bundles = foreignTrustDomains?.value;
    if (bundles === undefined) return;
    const alone = added.flatMap((entry) =>
      (entry.federatesWith ?? []).filter((name) => !bundles.has(name)).map((name) => ({ entry, name })),
    );
    this.#warnOfEach(alone, ({ entry, name }) => ({
      message: 'entry federates with a trust domain that has no bundle yet',
      fields: { ...fieldsOf(entry), trust_domain: name },
    }));
  }

  /** Says the same once. */
  fileRefused(mistakes: readonly Mistake[], before: readonly Mistake[]): void {
    if (isDeepStrictEqual(mistakes, before)) return;
    const { logger, metrics } = this.#options;
    metrics.count('svidgate_reload_failures_total', { source: 'entries' });
    for (const { file, line, column, message, remedy } of mistakes.slice(0, MAX_LOGGED)) {
      logger.warn({ file, line, column, reason: `${message}: ${remedy}` }, 'entries refused, the last good ones stay');
    }
  }

  storedRefused(entry: RegistrationEntry, reason: string): void {
    this.#options.logger.warn({ ...fieldsOf(entry), reason }, 'stored entry is not in force');
  }

  /** Those that came back, since the clock was set back, are among them. */
  expired(entries: readonly RegistrationEntry[]): void {
    const { logger, clock } = this.#options;
    const now = clock.now();
    const ended = entries.filter((entry) => !isLive(entry, now));
    for (const entry of ended.slice(0, MAX_LOGGED)) logger.info(fieldsOf(entry), 'entry expired');
    if (ended.length > MAX_LOGGED) logger.info({ count: ended.length - MAX_LOGGED }, 'more entries expired');
  }

  /** Whoever can run the program has the identity, whatever its user. */
  #warnOfProgramsOnly(added: readonly RegistrationEntry[]): void {
    const risky = added.filter(({ selectors }) => selectors.every((text) => /^unix:(?:path|sha256):/.test(text)));
    this.#warnOfEach(risky, (entry) => ({
      message: 'entry names a program but neither a user nor a container',
      fields: { ...fieldsOf(entry), selectors: entry.selectors },
    }));
  }

  #warnOfEach<T>(list: readonly T[], line: (one: T) => { readonly message: string; readonly fields: LogFields }): void {
    const { logger } = this.#options;
    for (const one of list.slice(0, MAX_LOGGED)) {
      const { message, fields } = line(one);
      logger.warn(fields, message);
    }
    if (list.length > MAX_LOGGED) logger.warn({ count: list.length - MAX_LOGGED }, 'more such entries');
  }
}

function addedBy(changes: readonly StagedChange[]): readonly RegistrationEntry[] {
  return changes.flatMap(({ after }) => after?.entry ?? []);
}

function fieldsOf({ entryId, spiffeId }: RegistrationEntry): { readonly entry_id: string; readonly spiffe_id: string } {
  return { entry_id: entryId, spiffe_id: spiffeId };
}
