import { randomUUID } from 'node:crypto';
import {
  describeError,
  SvidgateError,
  untilAborted,
  Watchable,
  type AuditCaller,
  type AuditLog,
  type Clock,
  type Logger,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { IssuedStore, RevocationStore } from '../datastore/index.ts';
import {
  pathOf,
  type Revocation,
  type RevocationReason,
  type RevocationTarget,
  type SpiffeId,
} from '../spiffe/index.ts';
import { revocationKey, RevocationsAt } from './revocation-snapshot.ts';

/** All revocations at one moment. Never changes. */
export interface RevocationSnapshot {
  /** Oldest first. */
  readonly all: readonly Revocation[];
  hasSerial(serial: string): boolean;
  /** Whether the ID itself is revoked. */
  hasSpiffeId(id: SpiffeId): boolean;
  /** Whether an SVID of this ID that has not ended is revoked by its serial: for a gate that is shown no certificate. */
  hasSerialOf(id: SpiffeId): boolean;
}

export interface Revocations {
  readonly snapshot: ReadonlyWatchable<RevocationSnapshot>;
  /**
   * Audited before it takes effect, in effect and on disk when it returns. Revoking twice gives the first one again. A
   * serial is taken as any tool prints it: upper case, with colons, `0x` or leading zeros. Throws `invalid_request`,
   * `audit_failed`, `datastore_failed`.
   */
  revoke(
    request: { readonly target: RevocationTarget; readonly reason: RevocationReason },
    by?: AuditCaller,
  ): Promise<Revocation>;
  /** Throws `not_found`, `audit_failed`, `datastore_failed`. */
  undo(id: string, by?: AuditCaller): Promise<Revocation>;
  /** Forgets, until the signal is aborted, revoked serials and issued SVIDs that ended a day ago, by two looks an hour apart. */
  run(signal: AbortSignal): Promise<void>;
}

export interface RevocationsOptions {
  readonly store: RevocationStore;
  readonly issued: IssuedStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly audit: AuditLog;
}

const HOUR_MS = 60 * 60_000;
/** An ended serial is kept for this long: verifiers' clocks may run behind. */
const KEPT_MS = 24 * HOUR_MS;

/** Throws `datastore_failed` when what was revoked cannot be read: it must not be taken for nothing. */
export async function createRevocations(options: RevocationsOptions): Promise<Revocations> {
  const first = new Map<string, Revocation>();
  for (const revocation of await options.store.list()) {
    const key = revocationKey(revocation);
    if (!first.has(key)) first.set(key, revocation);
    // A restored backup can bring one back that was undone and said anew: undoing one must undo both.
    else await options.store.delete(revocation.id);
  }
  return new StoredRevocations(options, [...first.values()]);
}

class StoredRevocations implements Revocations {
  readonly #options: RevocationsOptions;
  readonly #snapshot: Watchable<RevocationsAt>;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: RevocationsOptions, stored: readonly Revocation[]) {
    this.#options = options;
    this.#snapshot = new Watchable(RevocationsAt.of(stored, options.clock));
  }

  get snapshot(): ReadonlyWatchable<RevocationSnapshot> {
    return this.#snapshot;
  }

  async revoke(...[request, by]: Parameters<Revocations['revoke']>): Promise<Revocation> {
    const target = normalTarget(request.target);
    return await this.#alone(async () => {
      const found = this.#snapshot.value.find(revocationKey({ target }));
      if (found !== undefined) return found;
      const revocation: Revocation = {
        id: randomUUID(),
        target: await this.#withHolder(target),
        reason: request.reason,
        revokedAt: this.#options.clock.now(),
      };
      await this.#audited('revoked', { revocation, by }, () => this.#options.store.put(revocation));
      this.#snapshot.set(this.#snapshot.value.with(revocation));
      return revocation;
    });
  }

  async undo(...[id, by]: Parameters<Revocations['undo']>): Promise<Revocation> {
    return await this.#alone(async () => {
      const revocation = this.#snapshot.value.all.find((other) => other.id === id);
      if (revocation === undefined) throw new SvidgateError('not_found', `there is no revocation ${id}`);
      await this.#audited('undone', { revocation, by }, () => this.#options.store.delete(id));
      this.#snapshot.set(this.#snapshot.value.without(revocation));
      return revocation;
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    let lastLook = -Infinity;
    while (!signal.aborted) {
      const now = clock.now();
      // What had ended an hour ago, too: a clock that jumps ahead and is set right again must not undo a revocation.
      const ended = Math.min(now, lastLook) - KEPT_MS;
      lastLook = now;
      try {
        await this.#alone(() => this.#prune(ended));
      } catch (error) {
        const fields = { error_code: SvidgateError.from(error).code, reason: describeError(error) };
        logger.warn(fields, 'ended revocations cannot be forgotten');
      }
      await untilAborted(signal, clock.sleep(HOUR_MS, signal));
    }
  }

  async #prune(before: number): Promise<void> {
    const { store, issued } = this.#options;
    const { all } = this.#snapshot.value;
    const isEnded = ({ target }: Revocation): boolean =>
      target.kind === 'serial' && target.notAfter !== undefined && target.notAfter < before;
    const ended = all.filter(isEnded);
    for (const { id } of ended) await store.delete(id);
    if (ended.length > 0) {
      const kept = all.filter((revocation) => !isEnded(revocation));
      this.#snapshot.set(RevocationsAt.of(kept, this.#options.clock));
    }
    await issued.prune(before);
  }

  /** With the CA, holder and end of the serial, as far as we have them written down. */
  async #withHolder(target: RevocationTarget): Promise<RevocationTarget> {
    if (target.kind !== 'serial') return target;
    const issued = await this.#options.issued.find(target.serial);
    if (issued === undefined) return target;
    const { authorityId, spiffeId, notAfter } = issued;
    return { ...target, authorityId, spiffeId, notAfter };
  }

  async #audited(
    change: 'revoked' | 'undone',
    about: { readonly revocation: Revocation; readonly by: AuditCaller | undefined },
    write: () => Promise<void>,
  ): Promise<void> {
    const { audit, logger } = this.#options;
    const { revocation, by } = about;
    const { target, reason } = revocation;
    const event = {
      event: 'revoked',
      change,
      method: by === undefined ? 'revocations' : 'admin',
      ...(by === undefined ? {} : { caller: by }),
      reason,
      ...(target.kind === 'serial' ? { serial: target.serial } : {}),
      ...(target.spiffeId === undefined ? {} : { spiffe_id: target.spiffeId }),
    } as const;
    audit.record({ ...event, result: 'success' });
    try {
      await write();
    } catch (error) {
      audit.record({ ...event, result: 'failure', failure_reason: describeError(error) });
      throw error;
    }
    const { serial, spiffe_id } = { serial: undefined, spiffe_id: undefined, ...event };
    const fields = { ...(serial === undefined ? {} : { serial }), ...(spiffe_id === undefined ? {} : { spiffe_id }) };
    logger.info({ ...fields, reason }, change === 'revoked' ? 'svid revoked' : 'revocation undone');
  }

  /** One after the other, whether those before it failed or not. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const running = this.#queue.then(work);
    this.#queue = running.catch(() => undefined);
    return await running;
  }
}

function normalTarget(target: RevocationTarget): RevocationTarget {
  if (target.kind === 'serial') return { ...target, serial: normalSerial(target.serial) };
  if (pathOf(target.spiffeId) !== '') return target;
  throw new SvidgateError(
    'invalid_request',
    `${target.spiffeId} names a trust domain; revoke workloads or authorities`,
  );
}

/** Lower-case hexadecimal without leading zeros, as the gate reads serials from certificates. */
function normalSerial(text: string): string {
  const digits = text.toLowerCase().replaceAll(/[:\s]/g, '').replace(/^0x/, '').replace(/^0+/, '');
  // RFC 5280 §4.1.2.2: positive, at most 20 bytes.
  if (/^[0-9a-f]{1,40}$/.test(digits)) return digits;
  throw new SvidgateError('invalid_request', 'a serial number has 1 to 40 hexadecimal digits and is not zero');
}
