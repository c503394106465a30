import {
  createBackoff,
  describeError,
  untilAborted,
  Watchable,
  type Clock,
  type Logger,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { RegistrationEntry, X509Svid } from '../spiffe/index.ts';

/** Signs; the authority's part that identity needs. */
export interface SvidIssuer {
  issueX509Svid(request: {
    readonly spiffeId: RegistrationEntry['spiffeId'];
    readonly ttlMs?: number | undefined;
  }): Promise<X509Svid>;
}

export interface SvidSlotOptions {
  readonly entry: RegistrationEntry;
  readonly issuer: SvidIssuer;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1. */
  readonly random: () => number;
}

/** Looks at the clock at least this often, since a machine can sleep and a clock can be set. */
const LONGEST_WAIT_MS = 60_000;

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

  constructor(options: SvidSlotOptions) {
    this.#options = options;
  }

  /** The newest SVID, or undefined when none could be issued. */
  get svid(): ReadonlyWatchable<X509Svid | undefined> {
    return this.#svid;
  }

  /** Whether nobody holds it, and its SVID is due for rotation. */
  get isIdle(): boolean {
    return this.#holders === 0 && this.#dueIn() <= 0;
  }

  /** Keeps the SVID fresh until `release`. Resolves when the first SVID is there or could not be issued. */
  async hold(): Promise<void> {
    this.#holders += 1;
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
    this.#stop?.abort();
    this.#stop = undefined;
  }

  async #keepFresh(signal: AbortSignal, onFirst: () => void): Promise<void> {
    const { clock } = this.#options;
    const backoff = createBackoff({ baseMs: 500, maxMs: 30_000, random: this.#options.random });
    while (!signal.aborted) {
      let waitMs = this.#dueIn();
      if (waitMs <= 0) {
        const issued = await this.#rotate();
        if (issued) backoff.reset();
        waitMs = issued ? this.#dueIn() : backoff.next();
      }
      onFirst();
      await untilAborted(signal, clock.sleep(Math.min(waitMs, LONGEST_WAIT_MS), signal));
    }
    onFirst();
  }

  /** Milliseconds until the SVID must be replaced. One that is not valid yet was issued while the clock was wrong. */
  #dueIn(): number {
    const now = this.#options.clock.now();
    const { value } = this.#svid;
    return value !== undefined && now < value.notBefore ? 0 : this.#rotateAt - now;
  }

  async #rotate(): Promise<boolean> {
    const { entry, issuer, clock, logger, random } = this.#options;
    try {
      const svid = await issuer.issueX509Svid({ spiffeId: entry.spiffeId, ttlMs: entry.x509SvidTtlMs });
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
      return false;
    }
  }
}
