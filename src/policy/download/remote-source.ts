import { hash } from 'node:crypto';
import {
  describeError,
  SvidgateError,
  Watchable,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../../core/index.ts';
import type { PolicySnapshot, SnapshotSource, SourceStatus } from '../snapshot-source.ts';
import type { BundleAnswer, BundleFetcher } from './bundle-fetcher.ts';
import { BundleKeeper } from './bundle-keeper.ts';
import type { DownloadedBundle, KeptBundles } from './kept-bundle.ts';
import type { PartReader, ReadPart } from './part-reader.ts';
import { createPollPace, type PollOutcome, type PollPace } from './poll-pace.ts';

export interface RemoteSourceOptions<S extends PolicySnapshot = PolicySnapshot> {
  /** Whose source it is: in metrics, and among what is kept. */
  readonly policy: string;
  readonly fetcher: BundleFetcher;
  readonly reader: PartReader<S>;
  readonly kept: KeptBundles;
  readonly intervalMs: number;
  /** 0: it is not told to wait. */
  readonly longPollMs: number;
  /** How long the first read waits for the source before it takes what is kept. Default 5 s. */
  readonly startWaitMs?: number;
  readonly clock: Clock;
  /** Adds the policy's name. */
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random?: () => number;
}

export interface RemoteSource extends SnapshotSource {
  readonly status: ReadonlyWatchable<SourceStatus>;
  /** Asks for the first time, so that several sources are asked at once. Never rejects. */
  begin(signal: AbortSignal): void;
  /** What is in force now: once it is what came last, that is kept on disk. */
  inForce(digest: string | undefined): void;
}

const START_WAIT_MS = 5000;
/** A longer chain of changes costs more at the next start than a snapshot costs now. */
const MAX_PARTS = 32;

interface Held<S> {
  readonly snapshot: S;
  readonly download: DownloadedBundle;
  /** Of the last part. */
  readonly sha256: string;
}

export function createRemoteSource<S extends PolicySnapshot>(options: RemoteSourceOptions<S>): RemoteSource {
  return new PollingSource(options);
}

/**
 * Follows a place that gives bundles. What came last and could be read is what read() gives; what cannot be read, or
 * verified, or had at all, leaves that as it is. At the start it is what was kept on disk, read and verified anew.
 */
class PollingSource<S extends PolicySnapshot> implements RemoteSource {
  readonly description: string;
  readonly verifies: boolean;
  readonly signers: SnapshotSource['signers'];
  readonly status: Watchable<SourceStatus>;
  readonly #options: RemoteSourceOptions<S>;
  readonly #pace: PollPace;
  readonly #keeper: BundleKeeper;
  #held: Held<S> | undefined;
  /** Why what came last is not what is held. */
  #refusal: SvidgateError | undefined;
  /** The last bytes that were refused, by which keys and why: they would be refused again. */
  #refused: { readonly trace: string; readonly error: SvidgateError } | undefined;
  /** Why the last question has no answer. */
  #failure: SvidgateError | undefined;
  /** The last one that was given out. */
  #given: PolicySnapshot | undefined;
  #beginning: Promise<void> | undefined;
  #polling: Promise<void> | undefined;
  /** Until the next question. */
  #pauseMs = 0;

  constructor(options: RemoteSourceOptions<S>) {
    const { fetcher, policy, reader, metrics } = options;
    this.#options = options;
    this.verifies = reader.verifies;
    this.signers = reader.signers;
    this.description = fetcher.description;
    this.#pace = createPollPace(options);
    this.#keeper = new BundleKeeper({ ...options, place: fetcher.place });
    this.status = new Watchable<SourceStatus>({
      kind: fetcher.kind,
      description: fetcher.description,
      fromDisk: false,
    });
    metrics.gauge('svidgate_policy_source_contact_seconds', { policy }, 0);
    metrics.gauge('svidgate_policy_source_from_disk', { policy }, 0);
  }

  begin(signal: AbortSignal): void {
    this.#beginning ??= this.#start(signal);
  }

  async read(signal: AbortSignal): Promise<PolicySnapshot> {
    this.begin(signal);
    await this.#beginning;
    signal.throwIfAborted();
    const snapshot = this.#held?.snapshot;
    // What is held comes first, also where something newer was refused: after a start nothing is in force yet.
    const isNews = snapshot !== undefined && snapshot !== this.#given;
    if (this.#refusal !== undefined && !isNews) throw this.#refusal;
    if (snapshot === undefined) throw this.#failure ?? this.#notYet();
    this.#given = snapshot;
    return snapshot;
  }

  async *changes(signal: AbortSignal): AsyncGenerator<void, void, void> {
    this.begin(signal);
    try {
      await this.#beginning;
      if (!signal.aborted) yield;
      // The first question can take longer than the first read waited.
      await this.#polling;
      if (!signal.aborted) yield;
      while (!signal.aborted) {
        await this.#options.clock.sleep(this.#pauseMs, signal).catch(() => undefined);
        if (!signal.aborted) await this.#poll(signal);
        if (!signal.aborted) yield;
      }
    } finally {
      await this.#polling;
      await this.#keeper.settled;
    }
  }

  inForce(digest: string | undefined): void {
    if (digest !== undefined && digest === this.#held?.snapshot.digest) this.#keeper.save(this.#held.download);
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { clock, startWaitMs = START_WAIT_MS } = this.#options;
    await this.#restore(signal);
    const done = new AbortController();
    const either = AbortSignal.any([signal, done.signal]);
    await Promise.race([this.#poll(signal), clock.sleep(startWaitMs, either).catch(() => undefined)]);
    done.abort();
    if (this.#held !== undefined && this.status.value.fromDisk && !signal.aborted) {
      const { description: address } = this;
      const reason = this.#failure?.message ?? 'it has not answered yet';
      this.#options.logger.warn({ address, reason }, 'source of the policy is away, its last good bundle is taken');
    }
  }

  /** What was kept, if it can still be read and verified. Never rejects. */
  async #restore(signal: AbortSignal): Promise<void> {
    const { reader, logger, metrics, policy } = this.#options;
    try {
      const found = await this.#keeper.load();
      if (found === undefined) return;
      let snapshot: S | undefined;
      for (const part of found.download.parts) ({ snapshot } = await reader.read(part, { base: snapshot, signal }));
      const last = found.download.parts.at(-1);
      if (snapshot === undefined || last === undefined) return;
      this.#held = { snapshot, download: found.download, sha256: hash('sha256', last) };
      metrics.gauge('svidgate_policy_source_from_disk', { policy }, 1);
      metrics.gauge('svidgate_policy_source_contact_seconds', { policy }, found.contactAt / 1000);
      const { downloadedAt: lastChangeAt } = found.download;
      this.status.set({ ...this.status.value, lastContactAt: found.contactAt, lastChangeAt, fromDisk: true });
    } catch (error) {
      if (!signal.aborted) logger.warn({ reason: describeError(error) }, 'kept bundle not used');
    }
  }

  /** One question at a time. Never rejects. */
  #poll(signal: AbortSignal): Promise<void> {
    this.#polling ??= this.#ask(signal).finally(() => (this.#polling = undefined));
    return this.#polling;
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { clock, metrics, policy } = this.#options;
    const startedAt = clock.now();
    let outcome: PollOutcome;
    let result: string;
    try {
      outcome = await this.#fetch(signal);
      result = outcome.kind;
      this.#reached();
    } catch (error) {
      if (signal.aborted) return;
      outcome = { kind: 'failed' };
      result = this.#missed(error);
    }
    metrics.count('svidgate_policy_source_polls_total', { policy, result });
    this.#pauseMs = this.#pace.after(outcome, clock.now() - startedAt);
  }

  /** Throws `policy_invalid` for a bundle that is refused, and what the fetcher and the reader throw. */
  async #fetch(signal: AbortSignal): Promise<PollOutcome> {
    const { fetcher, reader } = this.#options;
    const held = this.#held;
    const etag = held?.download.etag;
    // A change from what is held would be of no use where what came last was refused.
    const isWhole = this.#refusal === undefined && (held?.download.parts.length ?? 0) < MAX_PARTS;
    const takesDelta = etag !== undefined && isWhole && !reader.verifies;
    const { waitMs } = this.#pace;
    const question = { ...(etag === undefined ? {} : { etag }), signal };
    const answer = await fetcher.fetch({ ...question, takesDelta, waitMs });
    if (answer.kind === 'unchanged') return { kind: 'unchanged', canWait: undefined };
    if (!takesDelta) return await this.#take(answer, undefined, signal);
    try {
      return await this.#take(answer, held, signal);
    } catch (error) {
      if (!(error instanceof SvidgateError) || error.code !== 'policy_invalid') throw error;
      // Perhaps a change from something else: the whole says more. Without the tag, so that it is not `unchanged`.
      const whole = await fetcher.fetch({ takesDelta: false, waitMs: 0, signal });
      if (whole.kind === 'unchanged') throw error;
      return await this.#take(whole, undefined, signal);
    }
  }

  async #take(
    answer: Extract<BundleAnswer, { readonly kind: 'bundle' }>,
    base: Held<S> | undefined,
    signal: AbortSignal,
  ): Promise<PollOutcome> {
    const { clock, fetcher } = this.#options;
    const { bytes, etag, canWait } = answer;
    const sha256 = hash('sha256', bytes);
    const tag = etag === undefined ? {} : { etag };
    const held = this.#held;
    if (held?.sha256 === sha256 && held.download.parts.length === 1) {
      if (held.download.etag !== etag) {
        const { place, downloadedAt, parts } = held.download;
        this.#held = { ...held, download: { place, ...tag, downloadedAt, parts } };
      }
      return { kind: 'unchanged', canWait };
    }
    const { snapshot, isDelta } = await this.#read(bytes, { sha256, base: base?.snapshot, signal });
    const parts = isDelta ? [...(base?.download.parts ?? []), bytes] : [bytes];
    this.#held = { snapshot, download: { place: fetcher.place, ...tag, downloadedAt: clock.now(), parts }, sha256 };
    return { kind: 'changed', canWait };
  }

  async #read(
    bytes: Uint8Array,
    options: { readonly sha256: string; readonly base: S | undefined; readonly signal: AbortSignal },
  ): Promise<ReadPart<S>> {
    const { reader } = this.#options;
    const { sha256, base, signal } = options;
    const trace = JSON.stringify([sha256, base?.digest, await reader.signers?.()]);
    if (this.#refused?.trace === trace) throw this.#refused.error;
    try {
      return await reader.read(bytes, { base, signal });
    } catch (error) {
      if (error instanceof SvidgateError && error.code === 'policy_invalid') this.#refused = { trace, error };
      throw error;
    }
  }

  #reached(): void {
    const { clock, logger, metrics, policy } = this.#options;
    if (this.#failure !== undefined || this.#refusal !== undefined)
      logger.info({ address: this.description }, 'source of the policy gives good answers again');
    this.#failure = undefined;
    this.#refusal = undefined;
    const now = clock.now();
    const { kind, description } = this.status.value;
    const lastChangeAt = this.#held?.download.downloadedAt;
    const change = lastChangeAt === undefined ? {} : { lastChangeAt };
    this.status.set({ kind, description, lastContactAt: now, ...change, fromDisk: false });
    metrics.gauge('svidgate_policy_source_contact_seconds', { policy }, now / 1000);
    metrics.gauge('svidgate_policy_source_from_disk', { policy }, 0);
    this.#keeper.touch(this.#held?.download);
  }

  /** Tells of each reason once, not at each question. */
  #missed(caught: unknown): 'refused' | 'failed' {
    const { logger } = this.#options;
    const error = SvidgateError.from(caught);
    const isRefusal = error.code === 'policy_invalid';
    const reason = error.code === 'internal' || error.code === 'file_unreadable' ? describeError(error) : error.message;
    this.#failure = isRefusal ? undefined : error;
    // A refusal is told by whoever reads.
    if (isRefusal) this.#refusal = error;
    else if (reason !== this.status.value.lastError)
      logger.warn(
        { address: this.description, reason },
        'source of the policy gives no bundle, the last good one stays',
      );
    this.status.set({ ...this.status.value, lastError: reason });
    return isRefusal ? 'refused' : 'failed';
  }

  #notYet(): SvidgateError {
    return new SvidgateError('policy_source_failed', `${this.description} has not answered yet`);
  }
}
