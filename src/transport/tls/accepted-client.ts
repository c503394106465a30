import { SvidgateError } from '../../core/index.ts';
import type { TlsPeer } from '../peer.ts';
import type { ClientJudge, ClientVerdict } from '../server-tls.ts';

/** A client whose certificate was accepted, and whether it still is. */
export class AcceptedClient {
  readonly peer: TlsPeer;
  readonly #chain: readonly Uint8Array[];
  readonly #judge: ClientJudge;
  readonly #now: () => number;
  #epoch: unknown;
  #validUntil: number;

  /** @param verdict what `judge` said of the chain at the epoch given */
  constructor(peer: TlsPeer, seen: AcceptedChain) {
    this.peer = peer;
    this.#chain = seen.chain;
    this.#judge = seen.clients;
    this.#now = seen.now;
    this.#epoch = seen.epoch;
    this.#validUntil = seen.validUntil;
  }

  /** Epoch milliseconds. */
  get validUntil(): number {
    return this.#validUntil;
  }

  /** Throws `certificate_invalid` when it expired, was revoked, or lost its trust. Nearly free while nothing changed. */
  assertAccepted(): void {
    const epoch = this.#judge.epoch();
    if (Object.is(epoch, this.#epoch) && this.#now() <= this.#validUntil) return;
    const verdict = judgeSafely(this.#judge, this.#chain);
    if (!verdict.accepted || verdict.spiffeId !== this.peer.spiffeId || this.#now() > verdict.validUntil) {
      throw new SvidgateError('certificate_invalid', 'the certificate of this connection is not accepted any more');
    }
    this.#epoch = epoch;
    this.#validUntil = verdict.validUntil;
  }
}

export interface AcceptedChain {
  readonly chain: readonly Uint8Array[];
  readonly clients: ClientJudge;
  readonly now: () => number;
  readonly epoch: unknown;
  readonly validUntil: number;
}

/** Nothing that the judge throws lets anybody in. */
export function judgeSafely(judge: ClientJudge, chain: readonly Uint8Array[]): ClientVerdict {
  try {
    return judge.judge(chain);
  } catch {
    return { accepted: false, reason: 'certificate_unreadable' };
  }
}
