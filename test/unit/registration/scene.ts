import {
  noMetrics,
  silentLogger,
  SvidgateError,
  Watchable,
  type AuditEvent,
  type AuditLog,
  type Clock,
  type LogFields,
  type Logger,
} from '../../../src/core/index.ts';
import type { EntryChange, EntryStore, StoredEntry } from '../../../src/datastore/index.ts';
import { createRegistry, type Registry } from '../../../src/registration/index.ts';
import { parseSelector, parseTrustDomain, type TrustDomain } from '../../../src/spiffe/index.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';

export interface Line {
  readonly level: 'info' | 'warn';
  readonly message: string;
  readonly fields: LogFields;
}

/** A store in memory that can be told to fail, and that holds a write until it is let go. */
export interface MemoryStore extends EntryStore {
  readonly rows: Map<string, StoredEntry>;
  failing: boolean;
  /** What `apply` was called with. */
  readonly writes: (readonly EntryChange[])[];
}

export function memoryStore(rows: readonly StoredEntry[] = []): MemoryStore {
  return {
    rows: new Map(rows.map((stored) => [stored.entry.entryId, stored])),
    failing: false,
    writes: [],
    async list() {
      if (this.failing) throw new SvidgateError('datastore_failed', 'the disk is full');
      return [...this.rows.values()].sort((a, b) => (a.entry.entryId < b.entry.entryId ? -1 : 1));
    },
    async apply(changes) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.failing) throw new SvidgateError('datastore_failed', 'the disk is full');
      this.writes.push(changes);
      for (const change of changes) {
        if (change.kind === 'put') this.rows.set(change.stored.entry.entryId, change.stored);
        else this.rows.delete(change.entryId);
      }
    },
  };
}

/** A registry with everything it needs, and all that it says. */
export interface Scene {
  readonly registry: Registry;
  readonly store: MemoryStore;
  readonly clock: TestClock;
  readonly lines: Line[];
  readonly events: AuditEvent[];
  readonly audit: { failing: boolean };
  readonly foreign: Watchable<ReadonlySet<TrustDomain>>;
}

export function createScene(
  options: { readonly file?: string; readonly store?: MemoryStore; readonly clock?: Clock } = {},
): Scene {
  const { store = memoryStore() } = options;
  const lines: Line[] = [];
  const log = (level: Line['level']) => (fields: LogFields, message: string) =>
    void lines.push({ level, message, fields });
  const logger: Logger = { ...silentLogger, info: log('info'), warn: log('warn'), child: () => logger };
  const events: AuditEvent[] = [];
  const audit: AuditLog & { failing: boolean } = {
    failing: false,
    record(event) {
      if (this.failing) throw new SvidgateError('audit_failed', 'the audit log cannot be written');
      events.push(event);
    },
  };
  const clock = createTestClock();
  const foreign = new Watchable<ReadonlySet<TrustDomain>>(new Set([parseTrustDomain('partner.test')]));
  const registry = createRegistry({
    ...(options.file === undefined ? {} : { file: options.file }),
    store,
    trustDomain: parseTrustDomain('td.test'),
    clock: options.clock ?? clock,
    logger,
    metrics: noMetrics,
    audit,
    foreignTrustDomains: foreign,
  });
  return { registry, store, clock, lines, events, audit, foreign };
}

/** The names of all entries that a caller with these selectors matches. */
export function namesOf(registry: Registry, ...selectors: readonly string[]): string[] {
  return registry.snapshot.value
    .match(new Set(selectors.map(parseSelector)))
    .map(({ spiffeId }) => spiffeId.slice('spiffe://td.test/'.length))
    .sort();
}
