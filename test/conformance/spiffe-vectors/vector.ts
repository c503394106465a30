/** One input and what the SPIFFE specifications say of it. */
export interface Vector {
  readonly name: string;
  /** The specification's section that decides it. */
  readonly clause: string;
  /** Whether svidgate takes it. */
  readonly accepts: boolean;
  /** Who judges otherwise, and why that is so. One who does not is expected to agree. */
  readonly otherwise?: { readonly goSpiffe?: string; readonly openssl?: string };
  readonly input: VectorInput;
}

export type VectorInput =
  | { readonly kind: 'id' | 'trust_domain' | 'bundle'; readonly text: string }
  | {
      readonly kind: 'x509';
      /** DER, leaf first. */
      readonly chain: readonly Uint8Array[];
      /** DER by trust domain. */
      readonly roots: Readonly<Record<string, readonly Uint8Array[]>>;
    }
  | {
      readonly kind: 'jwt';
      readonly text: string;
      /** SPIFFE JSON by trust domain. */
      readonly bundles: Readonly<Record<string, string>>;
      readonly audience: readonly string[];
    };

/** What somebody says of a vector. */
export interface Verdict {
  readonly accepts: boolean;
  /** Why not. */
  readonly reason?: string;
  /** The SPIFFE ID or trust domain; of a bundle, its content. */
  readonly value?: unknown;
}
