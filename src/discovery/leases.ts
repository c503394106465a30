import type { LeasedResource } from './encode-answer.ts';
import type { OutgoingMessage } from './discovery-session.ts';

/** A lease is renewed after this part of it. */
const RENEWED_AFTER = 1 / 3;

interface Lease {
  readonly resource: LeasedResource;
  /** When the last answer was sent that the Envoy has acknowledged: it holds the resource from then on, or later. */
  armedAt: number | undefined;
}

interface Answer {
  readonly sentAt: number;
  readonly names: readonly string[];
  /** Whether it had no content, which an Envoy whose lease has ended in between cannot fill in. */
  readonly isRenewal: boolean;
}

/**
 * What the Envoy at the other end of one stream holds for a limited time. Times are monotonic milliseconds.
 *
 * - At most one renewal waits for its acknowledgement: an Envoy that does not read finds no more than that when it does.
 * - What it has refused is not renewed: it holds what it had before, and that ends.
 */
export class Leases {
  readonly #leases = new Map<string, Lease>();
  readonly #answers = new Map<string, Answer>();
  #sentAt = 0;

  /** Of an answer or a renewal that is about to be sent. */
  sent({ nonce, sent, removed }: OutgoingMessage, renewed: readonly LeasedResource[], now: number): void {
    for (const name of removed) this.#leases.delete(name);
    const names = renewed.map(({ name }) => name);
    for (const { name, version, ttlMs } of sent) {
      if (ttlMs === undefined) {
        this.#leases.delete(name);
      } else {
        this.#leases.set(name, { resource: { name, version, ttlMs }, armedAt: undefined });
        names.push(name);
      }
    }
    if (names.length === 0) return;
    this.#sentAt = now;
    this.#answers.set(nonce, { sentAt: now, names, isRenewal: renewed.length > 0 });
  }

  /** Gives the names of what may have ended before it was renewed, and has to be sent whole. */
  acknowledged(nonce: string, now: number): readonly string[] {
    const answer = this.#take(nonce);
    if (answer === undefined) return [];
    const lost: string[] = [];
    for (const name of answer.names) {
      const lease = this.#leases.get(name);
      if (lease === undefined) continue;
      const isLost = answer.isRenewal && now - (lease.armedAt ?? -Infinity) >= lease.resource.ttlMs;
      if (isLost) lost.push(name);
      lease.armedAt = isLost ? undefined : answer.sentAt;
    }
    return lost;
  }

  /** Gives the names of what had ended before it was renewed, and has to be sent whole; undefined where content was refused. */
  refused(nonce: string): readonly string[] | undefined {
    const answer = this.#take(nonce);
    for (const name of answer?.names ?? []) this.#leases.delete(name);
    return answer?.isRenewal === true ? answer.names : undefined;
  }

  released(names: readonly string[]): void {
    for (const name of names) this.#leases.delete(name);
  }

  /** There was nothing to renew. */
  postponed(now: number): undefined {
    this.#sentAt = now;
  }

  /** When the next renewal is due; undefined while nothing is leased, or an answer is not acknowledged. */
  get dueAt(): number | undefined {
    if (this.#leases.size === 0 || this.#answers.size > 0) return undefined;
    let ttlMs = Infinity;
    for (const { resource } of this.#leases.values()) ttlMs = Math.min(ttlMs, resource.ttlMs);
    return this.#sentAt + ttlMs * RENEWED_AFTER;
  }

  /** What is renewed. */
  get resources(): readonly LeasedResource[] {
    return [...this.#leases.values()].filter(({ armedAt }) => armedAt !== undefined).map(({ resource }) => resource);
  }

  /** Those before it are not replied to any more. */
  #take(nonce: string): Answer | undefined {
    const answer = this.#answers.get(nonce);
    if (answer === undefined) return undefined;
    for (const earlier of this.#answers.keys()) {
      this.#answers.delete(earlier);
      if (earlier === nonce) break;
    }
    return answer;
  }
}
