import { SvidgateError } from '../core/index.ts';

/** One block of a PEM file (RFC 7468). */
export interface PemBlock {
  readonly label: string;
  /** The whole block. */
  readonly text: string;
  /** What stands between its boundaries. */
  readonly body: string;
}

const BOUNDARY = /-----(BEGIN|END) ([A-Z0-9][A-Z0-9 ]{0,62}[A-Z0-9])-----/g;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * All blocks in order; text around them is passed over. Throws `config_invalid` when one is cut off: a chain without the
 * certificate that it held would be another chain.
 */
export function parsePemBlocks(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { readonly label: string; readonly start: number; readonly bodyStart: number } | undefined;
  for (const { 0: line, 1: side, 2: label = '', index } of text.matchAll(BOUNDARY)) {
    const end = index + line.length;
    if (side === 'BEGIN') {
      if (open !== undefined) throw damaged(open.label);
      open = { label, start: index, bodyStart: end };
    } else {
      if (open?.label !== label) throw damaged(label);
      blocks.push({ label, text: text.slice(open.start, end), body: text.slice(open.bodyStart, index) });
      open = undefined;
    }
  }
  if (open !== undefined) throw damaged(open.label);
  return blocks;
}

/** The bytes of a block without headers. Throws `config_invalid`. */
export function derOf({ label, body }: PemBlock): Uint8Array {
  const base64 = body.replaceAll(/\s+/g, '');
  if (base64 === '' || !BASE64.test(base64)) throw damaged(label);
  return Buffer.from(base64, 'base64');
}

function damaged(label: string): SvidgateError {
  return new SvidgateError('config_invalid', `a block ${label} is damaged or cut off`);
}
