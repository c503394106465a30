import type { EnvoyNode } from './envoy-node.ts';
import type { EncodedResource } from './resource-view.ts';

/** One version of one resource. */
export interface ResourceVersion {
  readonly name: string;
  readonly version: string;
}

/** What a stream tells of what its Envoy holds. */
export interface StreamBooks extends Disposable {
  /** The Envoy named itself. */
  named(node: EnvoyNode): void;
  /** These were sent. Until they are acknowledged the Envoy may hold those before. */
  sent(resources: readonly EncodedResource[]): void;
  /** These were not sent, since the Envoy was sent the same bytes before. What they stand for may be newer: a bundle's sequence number. */
  unchanged(resources: readonly EncodedResource[]): void;
  acknowledged(resources: readonly ResourceVersion[]): void;
  /** `reason` is the Envoy's text, cut. */
  refused(resources: readonly ResourceVersion[], reason: string): void;
  /** Not asked for any more. */
  released(names: readonly string[]): void;
}
