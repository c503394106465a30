import type { ReadonlyWatchable } from '../core/index.ts';

/** An intermediate CA for us, with what leads to a root. */
export interface MintedCa {
  /** DER: our CA first, then those above it; the root is left out. Just one certificate when it is a root itself. */
  readonly chain: readonly Uint8Array[];
  /** Root certificates in DER that verifiers must hold; at least one. */
  readonly roots: readonly Uint8Array[];
}

/**
 * A CA above ours. The same contract suite runs against every implementation
 * (test/support/upstream-authority-contract.ts).
 */
export interface UpstreamAuthority {
  /** Its name in logs and in `svidgate authority show`: `disk`, `vault`. */
  readonly kind: string;
  /**
   * Has the CSR (PKCS#10 in DER: the CA's key, URI SAN `spiffe://trust-domain`) signed as a CA. Its life may be shorter than asked for.
   * Throws `upstream_failed`.
   */
  mintCa(request: {
    readonly csr: Uint8Array;
    readonly ttlMs: number;
    readonly signal: AbortSignal;
  }): Promise<MintedCa>;
  /** The roots at present, and each time they change. The authority publishes them before it trusts what they sign. */
  readonly roots: ReadonlyWatchable<readonly Uint8Array[]>;
  /** Watches for changed roots until the signal is aborted. Failures are logged and tried again. */
  run(signal: AbortSignal): Promise<void>;
}
