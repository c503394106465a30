import { SvidgateError } from '../../core/index.ts';
import type { AdminRpcName } from '../../proto/index.ts';

/** The largest request; an import of 100,000 entries fits. Also the limit of the socket. */
export const ADMIN_MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** The most entries of one import. */
export const MAX_IMPORT = 100_000;

const USUAL_MAX_BYTES = 256 * 1024;

/** Of requests that hold more than names and numbers. A bundle has at most 4 MiB of characters. */
const MAX_BYTES: Partial<Readonly<Record<AdminRpcName, number>>> = {
  setBundle: 16 * 1024 * 1024,
  importEntries: ADMIN_MAX_MESSAGE_BYTES,
};

/** Of the entries of one import together, each item of a list counted: forty for each, if there are as many as there may be. */
const MAX_ENTRY_FIELDS = 40 * MAX_IMPORT;

/**
 * Refuses a request that costs more to decode than any good one. An empty item of a list is two bytes on the wire and an
 * object in memory: 64 MiB of them would hold everybody up for most of a minute. Throws `too_large`.
 */
export function checkRequestSize(name: AdminRpcName, bytes: Uint8Array): void {
  const limit = MAX_BYTES[name] ?? USUAL_MAX_BYTES;
  if (bytes.length > limit) throw tooLarge(`${bytes.length} bytes, the limit is ${limit}`);
  if (name !== 'importEntries') return;
  let entries = 0;
  let fields = 0;
  for (const entry of lengthDelimited(bytes)) {
    entries += 1;
    // Room for fields that we do not know.
    if (entries > MAX_IMPORT + 100) throw tooLarge(`more than ${MAX_IMPORT} entries`);
    for (const _ of lengthDelimited(entry)) fields += 1;
    if (fields > MAX_ENTRY_FIELDS) throw tooLarge(`more than ${MAX_ENTRY_FIELDS} fields in its entries`);
  }
}

const WIRE = { varint: 0, fixed64: 1, lengthDelimited: 2, fixed32: 5 } as const;

/** Texts, bytes and messages of a message. Ends at what is no message: to say so is the decoder's affair. */
function* lengthDelimited(bytes: Uint8Array): Generator<Uint8Array, void, void> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    return 0;
  };
  while (at < bytes.length) {
    switch (varint() % 8) {
      case WIRE.varint:
        varint();
        break;
      case WIRE.fixed64:
        at += 8;
        break;
      case WIRE.fixed32:
        at += 4;
        break;
      case WIRE.lengthDelimited: {
        const length = varint();
        yield bytes.subarray(at, at + length);
        at += length;
        break;
      }
      default:
        return;
    }
  }
}

function tooLarge(problem: string): SvidgateError {
  return new SvidgateError('too_large', `the request has ${problem}`);
}
