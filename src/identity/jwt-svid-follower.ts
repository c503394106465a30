import { createBackoff, describeError, untilAborted, type Logger } from '../core/index.ts';
import type { JwtSvid, RegistrationEntry, Selector } from '../spiffe/index.ts';
import { entriesOf, type CallerSources } from './caller-watch.ts';
import type { FollowedJwtSvid, FollowedJwtSvidRequest } from './identity-source.ts';
import type { JwtSvids } from './jwt-svids.ts';

export interface JwtSvidFollowerOptions {
  readonly sources: CallerSources;
  readonly jwtSvids: JwtSvids;
  readonly isKeyTrusted: (keyId: string) => boolean;
  /** Told when a key may not be trusted any more. */
  readonly onKeysChanged: (listener: () => void) => () => void;
  readonly logger: Logger;
  /** 0 to 1. */
  readonly random: () => number;
}

/** Looks at the clock at least this often, since a machine can sleep and a clock can be set. */
const LONGEST_WAIT_MS = 60_000;

/** Tokens that were issued at one moment are not all renewed at one moment. */
const LARGEST_DELAY = 0.1;

interface Held {
  readonly entry: RegistrationEntry;
  readonly svid: JwtSvid;
}

/** One JWT-SVID of one caller, kept fresh until it is disposed. */
export class JwtSvidFollower implements FollowedJwtSvid {
  readonly #options: JwtSvidFollowerOptions;
  readonly #selectors: ReadonlySet<Selector>;
  readonly #request: FollowedJwtSvidRequest;
  readonly #onChange: () => void;
  readonly #stop = new AbortController();
  readonly #unsubscribe: readonly (() => void)[];
  #held: Held | undefined;
  /** Of the renewal, in halves of a life. */
  #delay = 1;
  #wake = new AbortController();

  constructor(
    options: JwtSvidFollowerOptions,
    who: { readonly selectors: ReadonlySet<Selector>; readonly request: FollowedJwtSvidRequest },
    onChange: () => void,
  ) {
    this.#options = options;
    this.#selectors = who.selectors;
    this.#request = who.request;
    this.#onChange = onChange;
    const look = (): void => {
      this.#wake.abort();
      onChange(); // what is taken away is gone at once
    };
    const { entries, revocations } = options.sources;
    this.#unsubscribe = [
      entries.subscribe((snapshot) => snapshot.concerns(this.#selectors) && look()),
      revocations.subscribe(look),
      options.onKeysChanged(look),
    ];
    void this.#keepFresh(this.#stop.signal);
  }

  get state(): FollowedJwtSvid['state'] {
    const entry = this.#entry();
    if (entry === undefined) return { kind: 'unknown' };
    const svid = this.#usable(entry);
    return svid === undefined ? { kind: 'pending' } : { kind: 'ready', svid };
  }

  [Symbol.dispose](): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#stop.abort();
  }

  #entry(): RegistrationEntry | undefined {
    const { spiffeId } = this.#request;
    const entries = entriesOf(this.#selectors, this.#options.sources);
    return spiffeId === undefined ? entries[0] : entries.find((entry) => entry.spiffeId === spiffeId);
  }

  /** The token for this entry, unless it has ended or its key is not to be used any more. */
  #usable(entry: RegistrationEntry): JwtSvid | undefined {
    const { entry: its, svid } = this.#held ?? {};
    if (its?.entryId !== entry.entryId || svid?.spiffeId !== entry.spiffeId) return undefined;
    if (svid.expiresAt <= this.#options.sources.clock.now() || !this.#options.isKeyTrusted(svid.keyId))
      return undefined;
    return svid;
  }

  async #keepFresh(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options.sources;
    const backoff = createBackoff({ baseMs: 500, maxMs: 30_000, random: this.#options.random });
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const entry = this.#entry();
      let waitMs = entry === undefined ? LONGEST_WAIT_MS : this.#dueIn(entry);
      if (entry !== undefined && waitMs <= 0) {
        const issued = await this.#renew(entry);
        waitMs = issued ? this.#dueIn(entry) : 0;
        // An agent may give a token whose key is not published yet, or that is past its half: the next is no better at once.
        if (waitMs > 0) backoff.reset();
        else waitMs = backoff.next();
      }
      const pause = AbortSignal.any([signal, this.#wake.signal]);
      await untilAborted(pause, clock.sleep(Math.min(waitMs, LONGEST_WAIT_MS), pause));
    }
  }

  /** Milliseconds until half of the token's life is over, or a little more; 0 when there is none. A token from the future was issued while the clock was wrong. */
  #dueIn(entry: RegistrationEntry): number {
    const svid = this.#usable(entry);
    const now = this.#options.sources.clock.now();
    if (svid === undefined || now < svid.issuedAt) return 0;
    return svid.issuedAt + ((svid.expiresAt - svid.issuedAt) / 2) * this.#delay - now;
  }

  async #renew(entry: RegistrationEntry): Promise<boolean> {
    const { audience, caller } = this.#request;
    try {
      const svid = await this.#options.jwtSvids({ entry, audience, caller });
      this.#held = { entry, svid };
      this.#delay = 1 + LARGEST_DELAY * this.#options.random();
      if (!this.#stop.signal.aborted) this.#onChange();
      return true;
    } catch (error) {
      this.#options.logger.error(
        { spiffe_id: entry.spiffeId, entry_id: entry.entryId, reason: describeError(error) },
        'svid rotation failed',
      );
      return false;
    }
  }
}
