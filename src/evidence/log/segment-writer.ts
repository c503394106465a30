import { closeSync, fstatSync, rmSync } from 'node:fs';
import {
  createSegment,
  isInPlace,
  listSegments,
  recoverEnd,
  reopenSegment,
  segmentPath,
  syncFile,
  writeWhole,
  type LogEnd,
  type OpenSegment,
} from './segments.ts';

export interface SegmentWriterOptions {
  readonly folder: string;
  readonly maxBytes: number;
  readonly segmentBytes: number;
  readonly segmentMs: number;
  readonly now: () => number;
}

interface KnownSegment {
  readonly number: number;
  bytes: number;
}

/** Writes whole pieces into segments and keeps all of them within a size. What throws has changed nothing that is read. */
export class SegmentWriter {
  readonly #options: SegmentWriterOptions;
  readonly #segments: KnownSegment[];
  #active: OpenSegment | undefined;
  #records: number;
  /** Segments, or the folder, that have to be synced. */
  readonly #dirty = new Set<string>();
  /** What the last process left. */
  readonly end: LogEnd | undefined;

  constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.end = recoverEnd(options.folder);
    this.#segments = listSegments(options.folder).map(({ number, bytes }) => ({ number, bytes }));
    this.#records = this.end?.records ?? 0;
    if (this.end !== undefined) this.#active = reopenSegment(options.folder, this.end);
  }

  /** All records that were ever written to this log. */
  get records(): number {
    return this.#records;
  }

  get newest(): number {
    return this.#segments.at(-1)?.number ?? 0;
  }

  get bytes(): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get segments(): number {
    return this.#segments.length;
  }

  /** Whole lines, their newlines included. */
  write(bytes: Buffer, records: number): void {
    const active = this.#segmentFor(bytes.length);
    this.#makeRoom(bytes.length);
    try {
      writeWhole(active.fd, bytes);
    } catch (error) {
      // It may end in the middle of a line now.
      this.#letGo();
      throw error;
    }
    const known = this.#segments.at(-1);
    if (known !== undefined) known.bytes += bytes.length;
    this.#records += records;
    this.#dirty.add(active.path);
  }

  /** Brings to disk what was written. */
  async sync(): Promise<void> {
    const active = this.#active;
    if (active !== undefined && !isInPlace(active)) {
      this.#letGo();
      throw new Error(`${active.path} was removed or replaced by somebody`);
    }
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    try {
      for (const path of dirty) await syncFile(path);
    } catch (error) {
      // What the kernel could not write it forgets: what follows goes into a segment of its own.
      this.#letGo();
      throw error;
    }
  }

  async close(): Promise<void> {
    try {
      await this.sync();
    } finally {
      this.#letGo();
    }
  }

  #segmentFor(bytes: number): OpenSegment {
    const { folder, segmentBytes, segmentMs, now } = this.#options;
    const known = this.#segments.at(-1);
    if (this.#active !== undefined && known !== undefined) {
      const isFull = known.bytes + bytes > segmentBytes;
      const isOld = now() - this.#active.openedAt > segmentMs;
      if (!isFull && !isOld) return this.#active;
      this.#letGo();
    }
    this.#makeRoom(0);
    const number = this.newest + 1;
    this.#active = createSegment(folder, { number, first: this.#records, at: now() });
    this.#segments.push({ number, bytes: fstatSync(this.#active.fd).size });
    this.#dirty.add(folder);
    return this.#active;
  }

  /** The oldest go first; the one that is written stays. */
  #makeRoom(bytes: number): void {
    const { folder, maxBytes } = this.#options;
    const kept = this.#active === undefined ? 0 : 1;
    let total = this.bytes + bytes;
    while (total > maxBytes && this.#segments.length > kept) {
      const [oldest] = this.#segments;
      if (oldest === undefined) return;
      rmSync(segmentPath(folder, oldest.number), { force: true });
      this.#segments.shift();
      total -= oldest.bytes;
      this.#dirty.add(folder);
    }
  }

  #letGo(): void {
    if (this.#active !== undefined) closeSync(this.#active.fd);
    this.#active = undefined;
  }
}
