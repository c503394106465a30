import type { PolicySnapshot } from '../snapshot-source.ts';

/** What is in a bundle. */
export interface ReadBundle {
  readonly snapshot: PolicySnapshot;
}

/** From a bundle's bytes to a policy. `B` is what a later change is made to. */
export interface BundleReader<B extends ReadBundle = ReadBundle> {
  /**
   * Unpacks and verifies. Bytes that are a change (a delta bundle) are made to `base`. Throws `policy_invalid` for what is
   * refused; a change without a base, or with a wrong one, is refused.
   */
  read(
    bytes: Uint8Array,
    options: { readonly base: B | undefined; readonly signal: AbortSignal },
  ): Promise<{
    readonly bundle: B;
    readonly isDelta: boolean;
  }>;
}
