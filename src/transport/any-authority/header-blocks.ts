import { decodeBlock, MAX_TABLE_BYTES, type BlockField } from './decode-block.ts';
import { encodeBlock } from './encode-block.ts';
import { brokenHeaderFrame, readHeadersPayload, writeHeaderFrames, type FrameHeader } from './frames.ts';
import { HeaderTable, sizeOf } from './header-table.ts';
import { mendAuthority } from './mend-authority.ts';

/** One header block: its HEADERS frame, and the CONTINUATION frames after it. */
export interface BlockFrames {
  readonly first: FrameHeader;
  /** Payload of each frame. */
  readonly payloads: readonly Buffer[];
  /** The frames as they came. */
  readonly raw: readonly Buffer[];
}

export interface BlockOutcome {
  readonly bytes: readonly Buffer[];
  /** How the connection goes on: block by block, without a look at what follows, or not at all. */
  readonly mode: 'go-on' | 'pass' | 'end';
}

/** Of a decoded block, as RFC 7541 §4.1 counts; Node answers for less than half of it. */
const MAX_LIST_BYTES = 128 * 1024;

/**
 * The header blocks of one connection on their way to Node's HTTP/2. As long as each authority is good they pass as they
 * are, so that Node's dynamic table is that of the client. From the first one that must be mended on, each block is
 * written anew without any use of Node's table; so what that holds does not matter any more.
 */
export class HeaderBlocks {
  readonly #table = new HeaderTable(MAX_TABLE_BYTES);
  #rewrites = false;

  /** Takes the next block. */
  next({ first, payloads, raw }: BlockFrames): BlockOutcome {
    const [payload = Buffer.alloc(0), ...more] = payloads;
    const headers = readHeadersPayload(payload, first.flags);
    if (headers === undefined) return this.fail(raw, first.streamId);
    const fields = decodeBlock(Buffer.concat([headers.fragment, ...more]), this.#table);
    if (fields === undefined) return this.fail(raw, first.streamId);
    const mended = mendAuthority(fields);
    if (mended === undefined && !this.#rewrites) return { bytes: raw, mode: 'go-on' };
    if (listBytesOf(fields) > MAX_LIST_BYTES) {
      return this.#rewrites ? this.fail(raw, first.streamId) : { bytes: raw, mode: 'go-on' };
    }
    this.#rewrites = true;
    const block = encodeBlock(mended ?? fields);
    return { bytes: writeHeaderFrames(first, headers.priority, block), mode: 'go-on' };
  }

  /**
   * For what is broken, or more than is looked at. Node answers for it; but once blocks are written anew, Node would read
   * this one with another table than its sender, so that it could become another request. Then the connection ends.
   */
  fail(raw: readonly Buffer[], streamId: number): BlockOutcome {
    if (!this.#rewrites) return { bytes: raw, mode: 'pass' };
    return { bytes: [brokenHeaderFrame(streamId)], mode: 'end' };
  }
}

function listBytesOf(fields: readonly BlockField[]): number {
  return fields.reduce((sum, field) => sum + sizeOf(field), 0);
}
