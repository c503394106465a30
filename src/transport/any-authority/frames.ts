/** HTTP/2 frames (RFC 9113 §4.1, §6.2, §6.10): what is needed of them to take header blocks out and put others in. */

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
export const FRAME_HEADER_BYTES = 9;

/** Node's default, which it announces: larger frames are an error that it answers. */
export const MAX_FRAME_BYTES = 16_384;

export const HEADERS = 0x1;
export const CONTINUATION = 0x9;
export const END_HEADERS = 0x4;
const END_STREAM = 0x1;
const PADDED = 0x8;
const PRIORITY = 0x20;
const PRIORITY_BYTES = 5;

export interface FrameHeader {
  readonly length: number;
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
}

export function readFrameHeader(bytes: Buffer, at: number): FrameHeader {
  return {
    length: bytes.readUIntBE(at, 3),
    type: bytes[at + 3] ?? 0,
    flags: bytes[at + 4] ?? 0,
    streamId: bytes.readUInt32BE(at + 5) % 2 ** 31,
  };
}

/** What a HEADERS frame holds beside its padding. */
export interface HeadersPayload {
  /** The five bytes of priority, or none. */
  readonly priority: Buffer;
  readonly fragment: Buffer;
}

/** Undefined when the padding or the priority does not fit. */
export function readHeadersPayload(payload: Buffer, flags: number): HeadersPayload | undefined {
  const isPadded = (flags & PADDED) !== 0;
  const start = isPadded ? 1 : 0;
  const end = payload.length - (isPadded ? (payload[0] ?? 0) : 0);
  const afterPriority = start + ((flags & PRIORITY) === 0 ? 0 : PRIORITY_BYTES);
  if (afterPriority > end) return undefined;
  return { priority: payload.subarray(start, afterPriority), fragment: payload.subarray(afterPriority, end) };
}

/** HEADERS without padding, and CONTINUATION frames where one frame does not hold the block. */
export function writeHeaderFrames(
  first: Pick<FrameHeader, 'flags' | 'streamId'>,
  priority: Buffer,
  block: Buffer,
): readonly Buffer[] {
  const kept = first.flags & (END_STREAM | PRIORITY);
  const fitting = MAX_FRAME_BYTES - priority.length;
  const parts: Buffer[] = [Buffer.concat([priority, block.subarray(0, fitting)])];
  for (let at = fitting; at < block.length; at += MAX_FRAME_BYTES) parts.push(block.subarray(at, at + MAX_FRAME_BYTES));
  return parts.map((part, index) => {
    const flags = (index === 0 ? kept : 0) | (index === parts.length - 1 ? END_HEADERS : 0);
    return writeFrame({ type: index === 0 ? HEADERS : CONTINUATION, flags, streamId: first.streamId }, part);
  });
}

function writeFrame(header: Omit<FrameHeader, 'length'>, payload: Buffer): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  frame.writeUIntBE(payload.length, 0, 3);
  frame.writeUInt8(header.type, 3);
  frame.writeUInt8(header.flags, 4);
  frame.writeUInt32BE(header.streamId, 5);
  payload.copy(frame, FRAME_HEADER_BYTES);
  return frame;
}

/** A header block that no HTTP/2 server takes (RFC 7541 §6.1: index 0): it ends the connection. */
export function brokenHeaderFrame(streamId: number): Buffer {
  return writeFrame({ type: HEADERS, flags: END_HEADERS, streamId }, Buffer.from([0x80]));
}
