import type { ReadonlyWatchable } from '../core/index.ts';

/** What the server shows of itself in a handshake. */
export interface ServerIdentity {
  /** PEM, PKCS #8. */
  readonly privateKey: string;
  /** PEM, the leaf first. */
  readonly certificateChain: string;
}

export type ClientVerdict =
  | {
      readonly accepted: true;
      readonly spiffeId: string;
      /** Of the leaf, in hex. */
      readonly serial: string;
      /** Epoch milliseconds: when the leaf ends. The client is asked to come back before that. */
      readonly validUntil: number;
    }
  /** `reason` goes to the log. */
  | { readonly accepted: false; readonly reason: string };

/** Who may connect by its certificate. */
export interface ClientJudge {
  /** `chain` as it was presented, DER, the leaf first; never empty. Throwing is a refusal. */
  judge(chain: readonly Uint8Array[]): ClientVerdict;
  /**
   * Another value (by `Object.is`) whenever `judge` may answer otherwise for another reason than time: bundles and
   * revocations. It is asked at each call, and must cost next to nothing.
   */
  epoch(): unknown;
}

/** TLS 1.2 or newer with a client certificate, ALPN, no resumption. On TCP only. */
export interface ServerTls {
  /**
   * New connections get the newest one, old ones stay. While it is undefined, connections are closed; one that is broken is
   * logged, and the one before it stays.
   */
  readonly identity: ReadonlyWatchable<ServerIdentity | undefined>;
  readonly clients: ClientJudge;
  /** The longest handshake. Default 5 s. */
  readonly handshakeTimeoutMs?: number;
  /** Handshakes under way; one more ends the oldest. Default 256. */
  readonly maxHandshakes?: number;
  /** Epoch milliseconds; for tests. Default Date.now. */
  readonly now?: () => number;
}
