import { describeError, type Clock, type Logger } from '../core/index.ts';
import type { X509Svid } from '../spiffe/index.ts';
import type { IdentitySource } from './identity-source.ts';

/** A process that is watched until it ends, or until `close`. */
export interface WatchedProcess {
  /** What it is, beyond its pid, which may be another's later. */
  readonly image: { readonly startTime: string } | undefined;
  /** Aborted when it has ended. */
  readonly exited: AbortSignal;
  close(): void;
}

export interface WorkloadExitsOptions {
  /** Throws when there is no such process, or when it cannot be watched. */
  readonly observe: (pid: number) => WatchedProcess;
  /** Revokes the SVID with this serial. */
  readonly revoke: (serial: string) => Promise<unknown>;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Holder {
  readonly process: WatchedProcess;
  /** Ends of the SVIDs it was given, in epoch milliseconds, by serial. */
  readonly given: Map<string, number>;
}

/**
 * Revokes an X.509-SVID when the last process that was given it has ended. Closing a stream ends nothing: the process has
 * the key still. A process that cannot be watched keeps what it was given for good. What was given before a restart is not
 * known any more and simply expires.
 */
export class WorkloadExits {
  readonly #options: WorkloadExitsOptions;
  /** By pid and start time. */
  readonly #holders = new Map<string, Holder>();
  /** Ends of SVIDs that some process holds which cannot be watched, by serial. */
  readonly #unwatched = new Map<string, number>();
  #closed = false;

  constructor(options: WorkloadExitsOptions) {
    this.#options = options;
  }

  /** The same identities; who is given them is watched. */
  over(source: IdentitySource): IdentitySource {
    const hold = this.#hold.bind(this);
    return {
      fetchJwtSvids: (selectors, request) => source.fetchJwtSvids(selectors, request),
      fetchJwtSvidsOf: (spiffeId, request) => source.fetchJwtSvidsOf(spiffeId, request),
      followJwtSvid: (selectors, request, onChange) => source.followJwtSvid(selectors, request, onChange),
      current: (selectors) => source.current(selectors),
      async *watch(selectors, signal, caller) {
        for await (const identity of source.watch(selectors, signal, caller)) {
          const svids = identity.svids.map(({ svid }) => svid);
          hold(caller?.pid, svids);
          yield identity;
        }
      },
    };
  }

  /** Lets all processes go; nothing is revoked from then on. */
  close(): void {
    this.#closed = true;
    for (const { process } of this.#holders.values()) process.close();
    this.#holders.clear();
  }

  #hold(pid: number | undefined, svids: readonly X509Svid[]): void {
    const given = this.#holderOf(pid)?.given ?? this.#unwatched;
    const now = this.#options.clock.now();
    for (const [serial, notAfter] of given) if (notAfter <= now) given.delete(serial);
    for (const { serial, notAfter } of svids) given.set(serial, notAfter);
  }

  /**
   * Whether it is the process that asked is looked at again before each secret is sent, after this: another one that took
   * its pid meanwhile is given nothing.
   */
  #holderOf(pid: number | undefined): Holder | undefined {
    if (this.#closed || pid === undefined || pid === 0) return undefined;
    let process: WatchedProcess;
    try {
      process = this.#options.observe(pid);
    } catch {
      return undefined;
    }
    const key = `${pid}:${process.image?.startTime ?? ''}`;
    const found = this.#holders.get(key);
    if (found !== undefined) {
      process.close();
      return found;
    }
    const holder: Holder = { process, given: new Map() };
    this.#holders.set(key, holder);
    process.exited.addEventListener('abort', () => void this.#ended(key), { once: true });
    return holder;
  }

  async #ended(key: string): Promise<void> {
    const holder = this.#holders.get(key);
    if (this.#closed || holder === undefined) return;
    this.#holders.delete(key);
    holder.process.close();
    const { clock, logger, revoke } = this.#options;
    for (const [serial, notAfter] of holder.given) {
      if (notAfter <= clock.now() || this.#isHeld(serial)) continue;
      try {
        await revoke(serial);
      } catch (error) {
        logger.error({ serial, reason: describeError(error) }, 'svid of an ended process cannot be revoked');
      }
    }
  }

  #isHeld(serial: string): boolean {
    return this.#unwatched.has(serial) || [...this.#holders.values()].some(({ given }) => given.has(serial));
  }
}
