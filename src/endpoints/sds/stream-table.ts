import { Watchable, type Clock, type ReadonlyWatchable } from '../../core/index.ts';
import type { SpiffeId } from '../../spiffe/index.ts';
import { UNKNOWN_NODE, type EnvoyNode } from './envoy-node.ts';

/** One resource, as the Envoy was sent it last. */
export interface StreamResource {
  readonly name: string;
  readonly version: string;
  readonly acknowledged: boolean;
  readonly lastNack?: { readonly reason: string; readonly at: number };
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

/** What an answer holds, for the books. */
export interface AnswerContent {
  readonly version: string;
  readonly names: readonly string[];
  readonly spiffeIds: readonly SpiffeId[];
  readonly expiresAt: number | undefined;
  /** Sequence number of our own bundle, when it is in the answer. */
  readonly bundleSequence: number | undefined;
}

/** The longest refusal that is kept. */
const MAX_REASON_LENGTH = 1024;

/** What each connected Envoy holds and has acknowledged. */
export class StreamTable {
  readonly #clock: Clock;
  readonly #streams = new Set<StreamRecord>();
  readonly #changes = new Watchable(0);
  #isTelling = false;
  #lastId = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Changes whenever `pending` may have. */
  get changed(): ReadonlyWatchable<number> {
    return this.#changes;
  }

  /** Names of the Envoys that hold our bundle and have not acknowledged this sequence number of it or a later one. */
  pending(sequence: number): readonly string[] {
    return [...this.#streams].filter((stream) => stream.isBehind(sequence)).map((stream) => stream.name);
  }

  streams(): readonly StreamStatus[] {
    return [...this.#streams].map((stream) => stream.status());
  }

  open(process: { readonly pid: number; readonly uid: number }): StreamRecord {
    this.#lastId += 1;
    const record = new StreamRecord({
      id: this.#lastId,
      process,
      clock: this.#clock,
      onChange: () => this.#tellSoon(),
      onClose: () => this.#streams.delete(record),
    });
    this.#streams.add(record);
    return record;
  }

  /** Once for all that changes in this turn: whoever listens goes through all streams, and a thousand can come at once. */
  #tellSoon(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      this.#changes.set(this.#changes.value + 1);
    });
  }
}

interface StreamRecordOptions {
  readonly id: number;
  readonly process: { readonly pid: number; readonly uid: number };
  readonly clock: Clock;
  readonly onChange: () => void;
  readonly onClose: () => void;
}

/** The books of one stream. */
export class StreamRecord implements Disposable {
  readonly #options: StreamRecordOptions;
  readonly #connectedAt: number;
  #node: EnvoyNode = UNKNOWN_NODE;
  #content: AnswerContent | undefined;
  #acknowledged = false;
  #lastNack: { readonly reason: string; readonly at: number } | undefined;
  /** The newest sequence number of our bundle that the Envoy holds. */
  #heldSequence = -1;

  constructor(options: StreamRecordOptions) {
    this.#options = options;
    this.#connectedAt = options.clock.now();
  }

  get name(): string {
    const { pid, uid } = this.#options.process;
    return this.#node.id === '' ? `pid ${pid} of uid ${uid}` : `${this.#node.id} (pid ${pid})`;
  }

  named(node: EnvoyNode): void {
    this.#node = node;
  }

  /** The content was sent, or is what was sent last. */
  holds(content: AnswerContent, sent: boolean): void {
    const heldBundle = this.#holdsBundle;
    this.#content = content;
    if (sent) this.#acknowledged = false;
    this.#takeNote(heldBundle);
  }

  acknowledged(): void {
    this.#acknowledged = true;
    this.#takeNote(this.#holdsBundle);
  }

  refused(reason: string): void {
    this.#lastNack = { reason: reason.slice(0, MAX_REASON_LENGTH), at: this.#options.clock.now() };
  }

  isBehind(sequence: number): boolean {
    return this.#holdsBundle && this.#heldSequence < sequence;
  }

  status(): StreamStatus {
    const { id, process } = this.#options;
    const { names = [], version = '', spiffeIds = [], expiresAt } = this.#content ?? {};
    return {
      id,
      nodeId: this.#node.id,
      nodeCluster: this.#node.cluster,
      pid: process.pid,
      uid: process.uid,
      spiffeIds,
      resources: names.map((name) => ({
        name,
        version,
        acknowledged: this.#acknowledged,
        ...(this.#lastNack === undefined ? {} : { lastNack: this.#lastNack }),
      })),
      connectedAt: this.#connectedAt,
      ...(expiresAt === undefined ? {} : { expiresAt }),
    };
  }

  [Symbol.dispose](): void {
    this.#options.onClose();
    if (this.#holdsBundle) this.#options.onChange();
  }

  get #holdsBundle(): boolean {
    return this.#content?.bundleSequence !== undefined;
  }

  /** Tells of what `isBehind` depends on, and of nothing else. */
  #takeNote(heldBundle: boolean): void {
    const heldSequence = this.#heldSequence;
    const sequence = this.#content?.bundleSequence;
    if (this.#acknowledged && sequence !== undefined && sequence > heldSequence) this.#heldSequence = sequence;
    if (heldBundle !== this.#holdsBundle || heldSequence !== this.#heldSequence) this.#options.onChange();
  }
}
