/** What is asked of a place that gives bundles. */
export interface BundleRequest {
  /** Names what is there already: nothing is sent while that is the newest. */
  readonly etag?: string;
  /** Whether the answer may be the change from what `etag` names. */
  readonly takesDelta: boolean;
  /** How long the place may wait for news; 0: it answers at once. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

export type BundleAnswer =
  | { readonly kind: 'unchanged' }
  | {
      readonly kind: 'bundle';
      /** As they came: nothing but their beginning was looked at. */
      readonly bytes: Uint8Array;
      readonly etag?: string;
      /** Whether it can be told to wait for news. */
      readonly canWait: boolean;
    };

/** A place that gives bundles. */
export interface BundleFetcher {
  readonly kind: 'http' | 'oci';
  /** For people: an address without credentials. */
  readonly description: string;
  /** Tells it from every other place. Not for people: an address can hold a secret. */
  readonly place: string;
  /** Rejects with `policy_source_failed`, `file_unreadable` (token or CAs), or when the signal is aborted. */
  fetch(request: BundleRequest): Promise<BundleAnswer>;
}
