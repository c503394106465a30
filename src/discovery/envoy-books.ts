import type { Clock, Logger, Metrics } from '../core/index.ts';
import type { SpiffeId } from '../spiffe/index.ts';
import { BookedResource, type StreamResource } from './booked-resource.ts';
import { UNKNOWN_NODE, type EnvoyNode } from './envoy-node.ts';
import type { EncodedResource } from './resource-view.ts';
import type { RulesBehind } from './rules-behind.ts';
import type { ResourceVersion, StreamBooks } from './stream-books.ts';

/** The process at the other end of a stream, from the kernel. */
export interface StreamProcess {
  readonly pid: number;
  readonly uid: number;
}

/** One open SDS stream. */
export interface StreamStatus {
  /** Grows, and is never used again. */
  readonly id: number;
  /** As the Envoy names itself; nothing is decided by it. */
  readonly nodeId: string;
  readonly nodeCluster: string;
  readonly pid: number;
  readonly uid: number;
  readonly spiffeIds: readonly SpiffeId[];
  readonly resources: readonly StreamResource[];
  /** Epoch milliseconds. */
  readonly connectedAt: number;
  /** The earliest end of the SVIDs it was sent, in epoch milliseconds. */
  readonly expiresAt?: number;
}

export interface EnvoyBooksOptions {
  readonly id: number;
  readonly process: StreamProcess;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** What has not been accepted for this long is not applied. */
  readonly ackTimeoutMs: number;
  /** `isBehind` may have changed. */
  readonly onBundleChange: () => void;
  /** Of all streams. */
  readonly rulesBehind: RulesBehind;
  /** Whether something waits for an answer, or was refused. */
  readonly onUnsettled: (isUnsettled: boolean) => void;
  readonly onClose: () => void;
}

/** Names that a node gives itself are cut to this. */
const MAX_NODE_TEXT_LENGTH = 1024;
/** What one stream may add to the log at once: a stream can have a great many names. */
const MAX_WARNINGS = 8;

/** The books of one stream. */
export class EnvoyBooks implements StreamBooks {
  readonly #options: EnvoyBooksOptions;
  readonly #connectedAt: number;
  readonly #resources = new Map<string, BookedResource>();
  /** Those with our bundle. */
  readonly #bundles = new Set<BookedResource>();
  /** Those that were not accepted yet. */
  readonly #unsettled = new Set<BookedResource>();
  #node: EnvoyNode = UNKNOWN_NODE;
  #name: string;
  /** The oldest sequence number of our bundle that the Envoy relies on; infinite while it has none of it. */
  #heldSequence = Infinity;
  #isClosed = false;

  constructor(options: EnvoyBooksOptions) {
    this.#options = options;
    this.#connectedAt = options.clock.now();
    this.#name = `pid ${options.process.pid} of uid ${options.process.uid}`;
  }

  get name(): string {
    return this.#name;
  }

  named(node: EnvoyNode): void {
    const cut = (text: string): string => text.slice(0, MAX_NODE_TEXT_LENGTH).toWellFormed();
    this.#node = { ...node, id: cut(node.id), cluster: cut(node.cluster) };
    if (node.id !== '') this.#name = `${this.#node.id} (pid ${this.#options.process.pid})`;
  }

  sent(resources: readonly EncodedResource[]): void {
    const now = this.#options.clock.now();
    for (const resource of resources) {
      const known = this.#resources.get(resource.name);
      known?.sent(resource, now);
      this.#note(known ?? BookedResource.sent(resource, now));
    }
    this.#tell();
  }

  unchanged(resources: readonly EncodedResource[]): void {
    for (const resource of resources) {
      const known = this.#resources.get(resource.name);
      known?.unchanged(resource);
      this.#note(known ?? BookedResource.found(resource));
    }
    this.#tell();
  }

  acknowledged(resources: readonly ResourceVersion[]): void {
    const now = this.#options.clock.now();
    let tookMs: number | undefined;
    let metric: 'svidgate_sds_ack_seconds' | 'svidgate_offload_ack_seconds' = 'svidgate_sds_ack_seconds';
    for (const { name, version } of resources) {
      const known = this.#resources.get(name);
      if (known === undefined) continue;
      const took = known.acknowledged(version, now);
      if (known.facts.kind === 'offload') metric = 'svidgate_offload_ack_seconds';
      tookMs ??= took;
      this.#note(known);
    }
    if (tookMs !== undefined) this.#options.metrics.observe(metric, {}, tookMs / 1000);
    this.#tell();
  }

  refused(resources: readonly ResourceVersion[], reason: string): void {
    const at = this.#options.clock.now();
    for (const { name, version } of resources) this.#resources.get(name)?.refused(version, { reason, at });
  }

  released(names: readonly string[]): void {
    for (const name of names) {
      const known = this.#resources.get(name);
      if (known === undefined) continue;
      this.#resources.delete(name);
      this.#bundles.delete(known);
      this.#unsettled.delete(known);
      this.#options.rulesBehind.gone(known);
    }
    this.#tell();
  }

  [Symbol.dispose](): void {
    this.released([...this.#resources.keys()]);
    this.#isClosed = true;
    this.#options.onClose();
  }

  /** Whether it relies on our bundle and has not accepted this sequence number or a later one. */
  isBehind(sequence: number): boolean {
    return this.#heldSequence < sequence;
  }

  /** How many resources are not applied. */
  unapplied(now: number): number {
    let count = 0;
    for (const resource of this.#unsettled) {
      if (resource.obstacle(now, this.#options.ackTimeoutMs) !== undefined) count += 1;
    }
    return count;
  }

  /** Logs what is not applied and was not logged yet. Gives how many there are in all. */
  warn(now: number, logger: Logger): number {
    const { ackTimeoutMs, process } = this.#options;
    const who = { node_id: this.#node.id, caller_pid: process.pid };
    let count = 0;
    let told = 0;
    for (const resource of this.#unsettled) {
      const obstacle = resource.obstacle(now, ackTimeoutMs);
      if (obstacle === undefined) continue;
      count += 1;
      if (!resource.tell(obstacle)) continue;
      told += 1;
      if (told > MAX_WARNINGS) continue;
      const reason = obstacle === 'refused' ? `refused: ${resource.refusal}` : `no answer in ${ackTimeoutMs / 1000} s`;
      const what = { resource_names: [resource.name], version: resource.version };
      logger.warn({ ...who, ...what, reason }, 'envoy has not applied a secret');
    }
    if (told > MAX_WARNINGS) {
      logger.warn({ ...who, count: told - MAX_WARNINGS }, 'envoy has not applied further secrets');
    }
    return count;
  }

  status(): StreamStatus {
    const { id, process, clock, ackTimeoutMs } = this.#options;
    const now = clock.now();
    const facts = [...this.#resources.values()].map((resource) => resource.facts);
    const svids = facts.filter(({ kind }) => kind === 'x509_svid' || kind === 'jwt_svid');
    const ends = svids.flatMap(({ expiresAt }) => expiresAt ?? []);
    return {
      id,
      nodeId: this.#node.id,
      nodeCluster: this.#node.cluster,
      pid: process.pid,
      uid: process.uid,
      spiffeIds: [...new Set(svids.flatMap(({ spiffeId }) => spiffeId ?? []))],
      resources: [...this.#resources.values()].map((resource) => resource.status(now, ackTimeoutMs)),
      connectedAt: this.#connectedAt,
      ...(ends.length === 0 ? {} : { expiresAt: ends.reduce((one, other) => Math.min(one, other)) }),
    };
  }

  /** Books the resource where it belongs now. */
  #note(resource: BookedResource): void {
    if (this.#isClosed) return;
    this.#resources.set(resource.name, resource);
    if (resource.facts.bundleSequence === undefined) this.#bundles.delete(resource);
    else this.#bundles.add(resource);
    if (resource.isSettled) this.#unsettled.delete(resource);
    else this.#unsettled.add(resource);
    if (resource.facts.kind === 'offload') this.#options.rulesBehind.note(resource);
  }

  /** Tells of what the table depends on, and of nothing else. */
  #tell(): void {
    if (this.#isClosed) return;
    this.#options.onUnsettled(this.#unsettled.size > 0);
    let heldSequence = Infinity;
    for (const resource of this.#bundles) heldSequence = Math.min(heldSequence, resource.heldSequence);
    if (heldSequence === this.#heldSequence) return;
    this.#heldSequence = heldSequence;
    this.#options.onBundleChange();
  }
}
