import type { Clock, Logger, Metrics } from '../../core/index.ts';
import type { BundleReader } from '../bundle/bundle-reader.ts';
import type { VerifyRules } from '../bundle/bundle-verification.ts';
import { httpFetcher } from './http-fetcher.ts';
import type { KeptBundles } from './kept-bundle.ts';
import { ociFetcher, type OciReference } from './oci-fetcher.ts';
import { createPartReader } from './part-reader.ts';
import { createRemoteSource, type RemoteSource } from './remote-source.ts';
import type { SourceAccess } from './source-http.ts';

/** Policies from a bundle server or a registry, and the last good ones on disk. */
export type { KeptBundles } from './kept-bundle.ts';
export type { RemoteSource } from './remote-source.ts';
export type { ClientIdentity, ServerJudge, SourceTls } from './source-connection.ts';

export interface BundleSourceOptions extends SourceAccess {
  /** Whose source it is. */
  readonly policy: string;
  readonly place: { readonly kind: 'http'; readonly url: string } | ({ readonly kind: 'oci' } & OciReference);
  readonly intervalMs: number;
  /** 0: it is not told to wait for news. */
  readonly longPollMs: number;
  readonly reader: BundleReader;
  /** Whose signature bundles must bear. Absent: signed ones are refused. */
  readonly verify?: VerifyRules;
  readonly kept: KeptBundles;
  readonly clock: Clock;
  /** Adds the policy's name. */
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A source that asks a server or a registry for OPA bundles. */
export function bundleSource(options: BundleSourceOptions): RemoteSource {
  const { place, reader, verify } = options;
  const fetcher = place.kind === 'http' ? httpFetcher(new URL(place.url), options) : ociFetcher(place, options);
  return createRemoteSource({ ...options, fetcher, reader: createPartReader(reader, verify) });
}
