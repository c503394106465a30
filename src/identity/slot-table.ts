import type { AuditLog, Clock, Logger, ReadonlyWatchable } from '../core/index.ts';
import type { RegistrationEntry } from '../spiffe/index.ts';
import { SvidSlot, type SvidIssuer } from './svid-slot.ts';

export interface SlotTableOptions {
  readonly issuer: SvidIssuer;
  /** Ids of CAs whose SVIDs must be replaced. */
  readonly tainted: ReadonlyWatchable<ReadonlySet<string>>;
  readonly revocations: ReadonlyWatchable<{ hasSerial(serial: string): boolean }>;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1. */
  readonly random: () => number;
}

/** SVIDs of a tainted CA are replaced within this time, each at a moment of its own, so that a fleet does not rotate at once. */
const TAINT_SPREAD_MS = 60_000;

/** So many slots are kept without a look at who is idle. */
const SMALLEST_SWEEP = 64;

/** One slot for each entry in use. Replaces what was revoked at once, and what a tainted CA signed in a spread. */
export class SlotTable {
  readonly #options: SlotTableOptions;
  readonly #slots = new Map<string, SvidSlot>();
  #sweepAt = SMALLEST_SWEEP;

  constructor(options: SlotTableOptions) {
    this.#options = options;
    options.tainted.subscribe((tainted) => {
      for (const slot of this.#slots.values()) {
        const { value } = slot.svid;
        if (value !== undefined && tainted.has(value.authorityId)) slot.replaceWithin(TAINT_SPREAD_MS);
      }
    });
    options.revocations.subscribe((revocations) => {
      for (const slot of this.#slots.values()) {
        const { value } = slot.svid;
        if (value !== undefined && revocations.hasSerial(value.serial)) slot.replaceNow();
      }
    });
  }

  slotFor(entry: RegistrationEntry): SvidSlot {
    const key = slotKey(entry);
    const found = this.#slots.get(key);
    if (found !== undefined) return found;
    if (this.#slots.size >= this.#sweepAt) this.#sweep();
    const slot = new SvidSlot({ ...this.#options, entry });
    this.#slots.set(key, slot);
    return slot;
  }

  /** Only when there are twice as many as are in use: going through all for each new one would cost their square. */
  #sweep(): void {
    for (const [key, slot] of this.#slots) if (slot.isIdle) this.#slots.delete(key);
    this.#sweepAt = Math.max(SMALLEST_SWEEP, 2 * this.#slots.size);
  }
}

const slotKeys = new WeakMap<RegistrationEntry, string>();

/** An entry whose identity was edited gets a slot, and so an SVID, of its own. */
export function slotKey(entry: RegistrationEntry): string {
  const known = slotKeys.get(entry);
  if (known !== undefined) return known;
  const { entryId, spiffeId, x509SvidTtlMs = null, dnsNames = [] } = entry;
  const key = JSON.stringify([entryId, spiffeId, x509SvidTtlMs, dnsNames]);
  slotKeys.set(entry, key); // asked again for each caller and each change
  return key;
}
