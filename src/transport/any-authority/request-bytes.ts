import {
  CONTINUATION,
  END_HEADERS,
  FRAME_HEADER_BYTES,
  HEADERS,
  MAX_FRAME_BYTES,
  PREFACE,
  readFrameHeader,
  type FrameHeader,
} from './frames.ts';
import { HeaderBlocks, type BlockOutcome } from './header-blocks.ts';

/** Of one block, encoded. */
const MAX_BLOCK_BYTES = 64 * 1024;
const MAX_BLOCK_FRAMES = 16;
/** Each piece costs more than a hundred bytes, however short it is. */
const MAX_PIECES = 64;

interface OpenBlock {
  readonly first: FrameHeader;
  readonly payloads: Buffer[];
  readonly raw: Buffer[];
  bytes: number;
}

/**
 * What one client sends, on its way to Node's HTTP/2: all bytes as they came, but header blocks whose authority Node would
 * refuse. Whatever is no HTTP/2 passes untouched. Holds back at most one header block.
 */
export class RequestBytes {
  readonly #blocks = new HeaderBlocks();
  #mode: BlockOutcome['mode'] = 'go-on';
  /** How much of the preface has come. */
  #prefaceBytes = 0;
  /** What is left of a frame that passes as it is. */
  #passing = 0;
  /** The beginning of a frame that is not there as far as it is needed. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #neededBytes = 0;
  #block: OpenBlock | undefined;

  /** What goes on to the server now. */
  take(chunk: Buffer): readonly Buffer[] {
    if (this.#mode === 'pass') return [chunk];
    if (this.#mode === 'end') return [];
    const bytes = this.#withHeld(chunk);
    return bytes === undefined ? [] : this.#walk(bytes);
  }

  #withHeld(chunk: Buffer): Buffer | undefined {
    if (this.#heldBytes === 0) return chunk;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    // A client that sends byte by byte has them neither copied each time nor held one by one.
    const isEnough = this.#heldBytes >= this.#neededBytes;
    if (!isEnough && this.#held.length < MAX_PIECES) return undefined;
    const joined = Buffer.concat(this.#held);
    this.#held = isEnough ? [] : [joined];
    if (!isEnough) return undefined;
    this.#heldBytes = 0;
    return joined;
  }

  #walk(bytes: Buffer): readonly Buffer[] {
    const out: Buffer[] = [];
    let at = this.#skipPreface(bytes);
    let passedFrom = 0;
    const flushTo = (end: number): void => {
      if (end > passedFrom) out.push(bytes.subarray(passedFrom, end));
    };
    while (this.#mode === 'go-on' && at < bytes.length) {
      if (this.#passing > 0) {
        const count = Math.min(this.#passing, bytes.length - at);
        at += count;
        this.#passing -= count;
        continue;
      }
      const frame = this.#frameAt(bytes, at);
      if (frame === undefined) {
        flushTo(at);
        this.#hold(bytes.subarray(at));
        return out;
      }
      if (frame.length > MAX_FRAME_BYTES && this.#block !== undefined) {
        flushTo(at);
        passedFrom = at;
        out.push(...this.#finish(this.#blocks.fail(this.#block.raw, this.#block.first.streamId)));
      } else if (this.#isOfBlock(frame)) {
        flushTo(at);
        passedFrom = at + FRAME_HEADER_BYTES + frame.length;
        out.push(...this.#takeBlockFrame(frame, bytes.subarray(at, passedFrom)));
        at = passedFrom;
      } else {
        this.#passing = FRAME_HEADER_BYTES + frame.length;
      }
    }
    if (this.#mode !== 'end') flushTo(bytes.length);
    return out;
  }

  /** Where the frames begin. Other bytes than the preface make the rest of the connection pass. */
  #skipPreface(bytes: Buffer): number {
    const count = Math.min(PREFACE.length - this.#prefaceBytes, bytes.length);
    const expected = PREFACE.subarray(this.#prefaceBytes, this.#prefaceBytes + count);
    if (!bytes.subarray(0, count).equals(expected)) this.#mode = 'pass';
    this.#prefaceBytes += count;
    return count;
  }

  /** The frame there, or undefined when more of it must come first. */
  #frameAt(bytes: Buffer, at: number): FrameHeader | undefined {
    const available = bytes.length - at;
    this.#neededBytes = FRAME_HEADER_BYTES;
    if (available < FRAME_HEADER_BYTES) return undefined;
    const frame = readFrameHeader(bytes, at);
    if (!this.#isOfBlock(frame)) return frame;
    this.#neededBytes += frame.length;
    return available < this.#neededBytes ? undefined : frame;
  }

  /** Whether the frame must be seen as a whole. One that is too large is for the server to refuse. */
  #isOfBlock({ type, length }: FrameHeader): boolean {
    return (type === HEADERS || this.#block !== undefined) && length <= MAX_FRAME_BYTES;
  }

  #hold(bytes: Buffer): void {
    this.#held = [bytes];
    this.#heldBytes = bytes.length;
  }

  #takeBlockFrame(frame: FrameHeader, raw: Buffer): readonly Buffer[] {
    const block = this.#block ?? { first: frame, payloads: [], raw: [], bytes: 0 };
    const continues = frame.type === CONTINUATION && frame.streamId === block.first.streamId;
    const isNext = block.raw.length === 0 ? frame.type === HEADERS : continues;
    block.payloads.push(raw.subarray(FRAME_HEADER_BYTES));
    block.raw.push(raw);
    block.bytes += frame.length;
    if (!isNext || block.bytes > MAX_BLOCK_BYTES || block.raw.length > MAX_BLOCK_FRAMES) {
      return this.#finish(this.#blocks.fail(block.raw, block.first.streamId));
    }
    if ((frame.flags & END_HEADERS) !== 0) return this.#finish(this.#blocks.next(block));
    this.#block = block;
    return [];
  }

  #finish(outcome: BlockOutcome): readonly Buffer[] {
    this.#block = undefined;
    this.#mode = outcome.mode;
    return outcome.bytes;
  }
}
