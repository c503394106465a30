import { SvidgateError } from '../../core/index.ts';
import type { TlsPeer } from '../peer.ts';
import type { ClientJudge, ClientVerdict } from '../server-tls.ts';

const JUDGED_FOR_MS = 60_000;

/** A client whose certificate was accepted, and whether it still is. */
export class AcceptedClient {
  readonly peer: TlsPeer;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Epoch milliseconds: when its certificate ends. */
  readonly validUntil: number;
  readonly #chain: readonly Uint8Array[];
  readonly #judge: ClientJudge;
  #epoch: unknown;
  /** When it is judged anew whatever the epoch is: a certificate above the leaf may have ended. */
  #judgedUntil: number;

  /** @param verdict what `judge` said of the chain at the epoch given */
  constructor(peer: TlsPeer, seen: AcceptedChain) {
    this.peer = peer;
    this.#chain = seen.chain;
    this.#judge = seen.clients;
    this.now = seen.now;
    this.#epoch = seen.epoch;
    this.validUntil = seen.validUntil;
    this.#judgedUntil = this.now() + JUDGED_FOR_MS;
  }

  /** Throws `certificate_invalid` when it expired, was revoked, or lost its trust. Nearly free while nothing changed. */
  assertAccepted(): void {
    const epoch = this.#judge.epoch();
    const now = this.now();
    if (Object.is(epoch, this.#epoch) && now <= this.validUntil && now <= this.#judgedUntil) return;
    const verdict = judgeSafely(this.#judge, this.#chain);
    if (!verdict.accepted || verdict.spiffeId !== this.peer.spiffeId || now > this.validUntil) {
      throw new SvidgateError('certificate_invalid', 'the certificate of this connection is not accepted any more');
    }
    this.#epoch = epoch;
    this.#judgedUntil = now + JUDGED_FOR_MS;
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
