import {
  createBackoff,
  describeError,
  untilAborted,
  Watchable,
  type AuditCaller,
  type AuditLog,
  type Clock,
  type Logger,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { RegistrationEntry, SpiffeId, X509Svid } from '../spiffe/index.ts';

/** Signs X.509-SVIDs; the authority's part that a slot needs. */
export interface SvidIssuer {
  issueX509Svid(request: {
    readonly spiffeId: SpiffeId;
    readonly entryId: string;
    readonly ttlMs?: number | undefined;
    readonly dnsNames?: readonly string[] | undefined;
  }): Promise<X509Svid>;
}

export interface SvidSlotOptions {
  readonly entry: RegistrationEntry;
  readonly issuer: SvidIssuer;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1. */
  readonly random: () => number;
}

/** Looks at the clock at least this often, since a machine can sleep and a clock can be set. */
const LONGEST_WAIT_MS = 60_000;

/** A reason of its own, with a trace, for each of a thousand slots would cost more than waking them. */
const LOOK_AGAIN = new Error('there is something to look at');

/** Never rotate more often than this, even when the CA that signs is about to end. */
const SHORTEST_LIFE_MS = 1000;

/**
 * The SVID of one entry, shared by all callers that match it. While somebody holds the slot it is rotated at half of
 * its life, up to a tenth of that earlier or later, so that a fleet does not rotate at once. A rotation that fails is
 * tried again and the old SVID stays until it expires; an expired one is never shown.
 */
export class SvidSlot {
  readonly #options: SvidSlotOptions;
  readonly #svid = new Watchable<X509Svid | undefined>(undefined);
  #rotateAt = 0;
  #holders = 0;
  #stop: AbortController | undefined;
  #ready: Promise<void> = Promise.resolve();
  /** Aborted to have the clock looked at again. */
  #wake = new AbortController();
  #caller: AuditCaller | undefined;
  #replaced: (() => void)[] = [];

  constructor(options: SvidSlotOptions) {
    this.#options = options;
  }

  /** The newest SVID, or undefined when none could be issued. */
  get svid(): ReadonlyWatchable<X509Svid | undefined> {
    return this.#svid;
  }

  /** Whom the audit log names for what is issued from now on. */
  set caller(caller: AuditCaller | undefined) {
    this.#caller = caller;
  }

  /** Whether nobody holds it, and its SVID is due for rotation. */
  get isIdle(): boolean {
    return this.#holders === 0 && this.#dueIn() <= 0;
  }

  /** Keeps the SVID fresh until `release`. Resolves when the first SVID is there or could not be issued. */
  async hold(caller: AuditCaller | undefined): Promise<void> {
    this.#holders += 1;
    this.#caller = caller;
    if (this.#stop === undefined) {
      const stop = new AbortController();
      this.#stop = stop;
      this.#ready = new Promise((resolve) => void this.#keepFresh(stop.signal, resolve));
    }
    await this.#ready;
  }

  release(): void {
    this.#holders -= 1;
    if (this.#holders > 0) return;
    this.#stop?.abort(LOOK_AGAIN);
    this.#stop = undefined;
  }

  /** Has the SVID replaced within `withinMs`, unless it is replaced earlier anyway. Who comes to one that nobody holds is given another. */
  replaceWithin(withinMs: number): void {
    const { clock, random } = this.#options;
    const spreadMs = this.#holders === 0 ? 0 : withinMs * random();
    this.#rotateAt = Math.min(this.#rotateAt, clock.now() + spreadMs);
    this.#wake.abort(LOOK_AGAIN);
  }

  /** Asks for another SVID at once. `settled` waits for it; whoever does not must look whether the old one is revoked. */
  replaceNow(): void {
    this.#rotateAt = 0;
    if (this.#stop === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ready = promise;
    this.#replaced.push(resolve);
    this.#wake.abort(LOOK_AGAIN);
  }

  /** Resolves when no replacement is under way: the SVID is there, or could not be issued. */
  settled(): Promise<void> {
    return this.#ready;
  }

  async #keepFresh(signal: AbortSignal, onFirst: () => void): Promise<void> {
    const { clock } = this.#options;
    const backoff = createBackoff({ baseMs: 500, maxMs: 30_000, random: this.#options.random });
    while (!signal.aborted) {
      this.#wake = new AbortController();
      // Also when nothing is due: a rotation that was under way has brought what they were promised.
      const waiting = this.#replaced.splice(0);
      let waitMs = this.#dueIn();
      if (waitMs <= 0) {
        const issued = await this.#rotate();
        if (issued) backoff.reset();
        waitMs = issued ? this.#dueIn() : backoff.next();
      }
      for (const resolve of waiting) resolve();
      onFirst();
      const pause = AbortSignal.any([signal, this.#wake.signal]);
      await untilAborted(pause, clock.sleep(Math.min(waitMs, LONGEST_WAIT_MS), pause));
    }
    onFirst();
    // Those of a holder that came meanwhile wait for the loop that it started.
    if (this.#stop === undefined) for (const resolve of this.#replaced.splice(0)) resolve();
  }

  /** Milliseconds until the SVID must be replaced. One that is not valid yet was issued while the clock was wrong. */
  #dueIn(): number {
    const now = this.#options.clock.now();
    const { value } = this.#svid;
    return value !== undefined && now < value.notBefore ? 0 : this.#rotateAt - now;
  }

  async #rotate(): Promise<boolean> {
    const { entry, issuer, clock, logger, random } = this.#options;
    const startedAt = clock.now();
    try {
      const { spiffeId, entryId, x509SvidTtlMs: ttlMs, dnsNames } = entry;
      const svid = await issuer.issueX509Svid({ spiffeId, entryId, ttlMs, dnsNames });
      this.#record(svid, startedAt);
      const halfLife = (svid.notAfter - clock.now()) / 2;
      this.#rotateAt = clock.now() + Math.max(SHORTEST_LIFE_MS, halfLife * (0.9 + 0.2 * random()));
      this.#svid.set(svid);
      return true;
    } catch (error) {
      const { value } = this.#svid;
      logger.error(
        { spiffe_id: entry.spiffeId, entry_id: entry.entryId, reason: describeError(error) },
        'svid rotation failed',
      );
      if (value !== undefined && value.notAfter <= clock.now()) this.#svid.set(undefined);
      this.#recordFailure(error, startedAt);
      return false;
    }
  }

  /** Throws when it must be recorded and cannot: then nobody sees the SVID. */
  #record(svid: X509Svid, startedAt: number): void {
    const { audit, clock } = this.#options;
    audit.record({
      ...this.#event(startedAt),
      result: 'success',
      serial: svid.serial,
      authority_id: svid.authorityId,
      expires_at: new Date(svid.notAfter).toISOString(),
      ttl_seconds: Math.round((svid.notAfter - clock.now()) / 1000),
    });
  }

  #recordFailure(error: unknown, startedAt: number): void {
    try {
      this.#options.audit.record({
        ...this.#event(startedAt),
        result: 'failure',
        failure_reason: describeError(error),
      });
    } catch {
      // Nothing was issued: there is nothing to take back.
    }
  }

  #event(startedAt: number) {
    const { entry, clock } = this.#options;
    return {
      event: 'svid_issued',
      svid_type: 'x509',
      rotation: this.#svid.value !== undefined,
      method: 'identity',
      ...(this.#caller === undefined ? {} : { caller: this.#caller }),
      spiffe_id: entry.spiffeId,
      entry_id: entry.entryId,
      duration_ms: clock.now() - startedAt,
    } as const;
  }
}
