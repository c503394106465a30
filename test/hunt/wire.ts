/** A case as the bytes of a CheckRequest, and such bytes read again: protobuf by hand, without the gate's code. */
import type { ByteEdit, Case, WireStyle } from './case.ts';
import { createRandom } from './random.ts';
import { headersOf, principalOf, type Cast } from './reading.ts';

/** A field with its number; what is within a message is a list of fields. */
interface Field {
  readonly number: number;
  readonly content: Buffer | readonly Field[] | { readonly varint: number };
  /** An entry of a list or a map: two of them do not join to one. */
  readonly isEntry?: boolean;
}

const text = (number: number, value: string): readonly Field[] =>
  value === '' ? [] : [{ number, content: Buffer.from(value) }];
const message = (number: number, ...fields: readonly (readonly Field[])[]): Field => ({
  number,
  content: fields.flat(),
});
const entry = (number: number, ...fields: readonly (readonly Field[])[]): Field => ({
  ...message(number, ...fields),
  isEntry: true,
});

const SOME_HOST = 'orders.example.test';

export function encodeCase(drawn: Case, cast: Cast): Buffer {
  const { wire } = drawn;
  let fields = [message(1, attributesOf(drawn, cast))];
  if (wire.kind === 'broken') fields = fields.map((field) => broken(field, wire));
  const how = wire.kind === 'odd' ? wire.how : undefined;
  const bytes = Buffer.concat(fields.map((field) => encodeField(field, how)));
  return wire.kind === 'mutated' ? wire.edits.reduce(edited, bytes) : bytes;
}

function attributesOf(drawn: Case, cast: Cast): readonly Field[] {
  const { method, path, rawHeaders, rawBody, body, extensions, certificate } = drawn;
  const credential = cast.people.credentials.get(certificate);
  const headers = headersOf(drawn, cast);
  const map = (number: number, pairs: readonly (readonly [string, string])[]): readonly Field[] =>
    pairs.map(([name, value]) => entry(number, text(1, name), text(2, value)));
  const raw = message(
    13,
    headers.map(([name, value]) => entry(1, text(1, name), text(3, value))),
  );
  return [
    message(1, text(4, principalOf(drawn, cast)), text(5, credential?.text ?? '')),
    message(2, text(4, 'spiffe://example.test/sidecar')),
    message(4, [
      message(
        2,
        text(2, method),
        rawHeaders ? [] : map(3, headers),
        text(4, path),
        text(5, SOME_HOST),
        text(rawBody ? 12 : 11, body),
        rawHeaders ? [raw] : [],
      ),
    ]),
    ...map(10, extensions),
  ];
}

/** Where the field that is to be broken is: beneath attributes, its message, and perhaps http. */
const PLACES = { method: [1, 4, 2, 2], path: [1, 4, 2, 4], certificate: [1, 1, 5] } as const;

function broken(field: Field, wire: WireStyle & { readonly kind: 'broken' }): Field {
  const change = (at: Field, path: readonly number[]): Field => {
    if (at.number !== path[0]) return at;
    if (path.length > 1 && Array.isArray(at.content)) {
      return { ...at, content: (at.content as readonly Field[]).map((inner) => change(inner, path.slice(1))) };
    }
    return { ...at, content: wire.how === 'utf8' ? Buffer.from([0x2f, 0xff, 0xfe]) : { varint: 7 } };
  };
  return change(field, PLACES[wire.field]);
}

type OddWay = (WireStyle & { readonly kind: 'odd' })['how'] | undefined;

/** What a reader must not take: a value that stands before the one that counts. */
const DECOY = Buffer.from('GET');

function encodeField({ number, content, isEntry = false }: Field, how: OddWay): Buffer {
  const wide = how === 'overlong';
  if ('varint' in content) return Buffer.concat([varint(number * 8, wide), varint(content.varint, wide)]);
  const delimited = (bytes: Buffer): Buffer =>
    Buffer.concat([varint(number * 8 + 2, wide), varint(bytes.length, wide), bytes]);
  if (Buffer.isBuffer(content)) {
    return how === 'decoys' ? Buffer.concat([delimited(DECOY), delimited(content)]) : delimited(content);
  }
  const inner = content.map((field) => ({ field, bytes: encodeField(field, how) }));
  // The entries of a map keep their order, of which the last counts.
  if (how === 'reversed') inner.sort((one, other) => other.field.number - one.field.number);
  const parts = inner.map(({ bytes }) => bytes);
  if (how === 'split' && !isEntry && parts.length > 1) {
    const half = parts.length >> 1;
    return Buffer.concat([delimited(Buffer.concat(parts.slice(0, half))), delimited(Buffer.concat(parts.slice(half)))]);
  }
  if (how === 'unknown_fields') parts.splice(parts.length >> 1, 0, ...UNKNOWN);
  return delimited(Buffer.concat(parts));
}

/** Fields of numbers that nobody has: a varint, 64 bits, bytes, 32 bits. */
const UNKNOWN: readonly Buffer[] = [
  Buffer.concat([varint(1000 * 8), varint(300)]),
  Buffer.concat([varint(1001 * 8 + 1), Buffer.alloc(8, 1)]),
  Buffer.concat([varint(1002 * 8 + 2), varint(4), Buffer.from('GET!')]),
  Buffer.concat([varint(1003 * 8 + 5), Buffer.alloc(4, 1)]),
];

/** In as few bytes as possible, or in five. */
function varint(value: number, isWide = false): Buffer {
  const bytes: number[] = [];
  let rest = value;
  const least = isWide ? 4 : 0;
  while (rest > 0x7f || bytes.length < least) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}

function edited(bytes: Buffer, edit: ByteEdit): Buffer {
  if (edit.edit === 'repeat') return Buffer.concat([bytes, bytes]);
  const at = bytes.length === 0 ? 0 : edit.at % bytes.length;
  switch (edit.edit) {
    case 'flip': {
      const copy = Buffer.from(bytes);
      if (copy.length > 0) copy[at] = (copy[at] ?? 0) ^ (1 << edit.bit);
      return copy;
    }
    case 'cut':
      return bytes.subarray(0, at);
    case 'remove':
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + edit.count)]);
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), Buffer.from(edit.bytes), bytes.subarray(at)]);
  }
}

export function drawEdits(seed: number): readonly ByteEdit[] {
  const random = createRandom(seed);
  return Array.from({ length: 1 + random.below(3) }, (): ByteEdit => {
    const at = random.below(1 << 20);
    const kind = random.below(8);
    if (kind < 4) return { edit: 'flip', at, bit: random.below(8) };
    if (kind === 4) return { edit: 'cut', at };
    if (kind === 5) return { edit: 'remove', at, count: 1 + random.below(8) };
    if (kind === 6) return { edit: 'repeat' };
    return { edit: 'insert', at, bytes: Array.from({ length: 1 + random.below(6) }, () => random.below(256)) };
  });
}
