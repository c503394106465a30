import { createHash } from 'node:crypto';
import { configInvalid, formatMistake, readTextFile, type Mistake } from '../config/index.ts';
import {
  fileChanges,
  Watchable,
  untilAborted,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { RegistrationEntry, TrustDomain } from '../spiffe/index.ts';
import { parseAside, parseHere, type EntriesResult, type EntriesText } from './parse-aside.ts';
import { createSnapshot, type RegistrySnapshot } from './snapshot.ts';

const MAX_ENTRIES_BYTES = 32 * 1024 * 1024;
/** Of one kind for each change: a file of another sort, put there by accident, would fill the log. */
const MAX_LOGGED = 10;

export interface RegistryOptions {
  /** Absolute path of `entries.yaml`; without it there are no entries. */
  readonly file?: string;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface RegistryStatus {
  /** `stale`: the file has become wrong or unreadable, and the entries are those read before. */
  readonly state: 'current' | 'stale';
  readonly entryCount: number;
  /** Epoch milliseconds of when the entries in force were read. */
  readonly loadedAt: number;
  /** What is wrong with the file now; empty when it is current. */
  readonly mistakes: readonly Mistake[];
}

/** The registration entries in force. */
export interface Registry {
  /** Empty until load. A new one for each change of the entries. */
  readonly snapshot: ReadonlyWatchable<RegistrySnapshot>;
  readonly status: ReadonlyWatchable<RegistryStatus>;
  /** Reads the file for the first time. Throws `config_invalid` with every mistake in it. */
  load(): Promise<void>;
  /** Follows the file until the signal is aborted. A wrong or vanished file leaves the entries in force. */
  run(signal: AbortSignal): Promise<void>;
}

export function createRegistry(options: RegistryOptions): Registry {
  return new FileRegistry(options);
}

/** Every mistake of an entries file, being unreadable included; empty when the server would take it. */
export async function checkEntriesFile(file: string, trustDomain: TrustDomain): Promise<readonly Mistake[]> {
  const read = await readTextFile(file, { maxBytes: MAX_ENTRIES_BYTES });
  if (read.mistake !== undefined) return [read.mistake];
  return parseHere({ text: read.text, file, trustDomain }).mistakes ?? [];
}

class FileRegistry implements Registry {
  readonly #options: RegistryOptions;
  readonly #snapshot = new Watchable<RegistrySnapshot>(createSnapshot([]));
  readonly #status: Watchable<RegistryStatus>;
  /** What was read last, right or wrong, so that an unchanged file costs nothing and is logged once. */
  #lastSeen: string | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#status = new Watchable<RegistryStatus>({ state: 'current', entryCount: 0, loadedAt: 0, mistakes: [] });
  }

  get snapshot(): ReadonlyWatchable<RegistrySnapshot> {
    return this.#snapshot;
  }

  get status(): ReadonlyWatchable<RegistryStatus> {
    return this.#status;
  }

  async load(): Promise<void> {
    const mistakes = await this.#read(parseHere); // nobody waits yet
    if (mistakes.length > 0) throw configInvalid(mistakes);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { file, clock } = this.#options;
    if (file === undefined) return;
    const refresh = (): Promise<void> => untilAborted(signal, this.#refresh(signal));
    for await (const _ of fileChanges(file, { clock, signal })) await refresh();
  }

  async #refresh(signal: AbortSignal): Promise<void> {
    const { logger, metrics } = this.#options;
    const mistakes = await this.#read((source) => parseAside(source, signal));
    if (mistakes.length === 0) return;
    this.#status.set({ ...this.#status.value, state: 'stale', mistakes });
    metrics.count('svidgate_reload_failures_total', { source: 'entries' });
    for (const { file, line, column, message, remedy } of mistakes.slice(0, MAX_LOGGED)) {
      logger.warn({ file, line, column, reason: `${message}: ${remedy}` }, 'entries refused, the last good ones stay');
    }
  }

  /** Puts the file's entries in force. Gives its mistakes instead, or nothing when it is as it was. */
  async #read(parse: (source: EntriesText) => EntriesResult | Promise<EntriesResult>): Promise<readonly Mistake[]> {
    const { file, trustDomain } = this.#options;
    if (file === undefined) return [];
    const read = await readTextFile(file, { maxBytes: MAX_ENTRIES_BYTES });
    const seen = read.mistake === undefined ? digestOf(read.text) : formatMistake(read.mistake);
    if (seen === this.#lastSeen) return [];
    this.#lastSeen = seen;
    if (read.mistake !== undefined) return [read.mistake];
    const parsed = await parse({ text: read.text, file, trustDomain });
    if (parsed.mistakes !== undefined) return parsed.mistakes;
    this.#activate(parsed.entries, file);
    return [];
  }

  #activate(entries: readonly RegistrationEntry[], file: string): void {
    const { clock, logger, metrics } = this.#options;
    const status = { state: 'current', entryCount: entries.length, loadedAt: clock.now(), mistakes: [] } as const;
    this.#status.set(status);
    metrics.gauge('svidgate_entries', {}, entries.length);
    const before = new Set(this.#snapshot.value.entries.map((entry) => JSON.stringify(entry)));
    const added = entries.filter((entry) => !before.has(JSON.stringify(entry)));
    if (added.length === 0 && entries.length === before.size) return;
    this.#snapshot.set(createSnapshot(entries));
    logger.info({ file, count: entries.length }, 'entries in force');
    this.#warnOfProgramsOnly(added);
  }

  /** Whoever can run the program has the identity, whatever its user. */
  #warnOfProgramsOnly(added: readonly RegistrationEntry[]): void {
    const { logger } = this.#options;
    const risky = added.filter(({ selectors }) => selectors.every((text) => /^unix:(?:path|sha256):/.test(text)));
    for (const { entryId, spiffeId, selectors } of risky.slice(0, MAX_LOGGED)) {
      logger.warn(
        { entry_id: entryId, spiffe_id: spiffeId, selectors },
        'entry names a program but neither a user nor a container',
      );
    }
    if (risky.length > MAX_LOGGED) logger.warn({ count: risky.length - MAX_LOGGED }, 'more such entries');
  }
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
