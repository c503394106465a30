/** Bytes by the length of their code (RFC 7541 appendix B); 256 ends a text and never stands in one. */
const SYMBOLS_BY_LENGTH: readonly (readonly [bits: number, symbols: string])[] = [
  [5, '48-50 97 99 101 105 111 115-116'],
  [6, '32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117'],
  [7, '58 66-87 89 106-107 113 118-122'],
  [8, '38 42 44 59 88 90'],
  [10, '33-34 40-41 63'],
  [11, '39 43 124'],
  [12, '35 62'],
  [13, '0 36 64 91 93 126'],
  [14, '94 125'],
  [15, '60 96 123'],
  [19, '92 195 208'],
  [20, '128 130-131 162 184 194 224 226'],
  [21, '153 161 167 172 176-177 179 209 216-217 227 229-230'],
  [22, '129 132-134 136 146 154 156 160 163-164 169-170 173 178 181 185-187 189-190 196 198 228 232-233'],
  [23, '1 135 137-141 143 147 149-152 155 157-158 165-166 168 174-175 180 182-183 188 191 197 231 239'],
  [24, '9 142 144-145 148 159 171 206 215 225 236-237'],
  [25, '199 207 234-235'],
  [26, '192-193 200-202 205 210 213 218-219 238 240 242-243 255'],
  [27, '203-204 211-212 214 221-223 241 244-248 250-254'],
  [28, '2-8 11-12 14-21 23-31 127 220 249'],
  [30, '10 13 22 256'],
];

const END_OF_STRING = 256;
const LONGEST_CODE = 30;

/**
 * The code is canonical: codes of one length are consecutive, in the order of their symbols, and follow those of the
 * lengths before. So the first code of each length, and how many there are, is all that decoding needs.
 */
interface CodesOfLength {
  readonly first: number;
  readonly symbols: readonly number[];
}

const CODES: readonly CodesOfLength[] = codesByLength();

function codesByLength(): readonly CodesOfLength[] {
  const byLength = new Map(SYMBOLS_BY_LENGTH.map(([bits, symbols]) => [bits, symbols.split(' ').flatMap(range)]));
  const codes: CodesOfLength[] = [];
  let next = 0;
  for (let bits = 0; bits <= LONGEST_CODE; bits += 1) {
    const symbols = byLength.get(bits) ?? [];
    next *= 2;
    codes.push({ first: next, symbols });
    next += symbols.length;
  }
  return codes;
}

function range(text: string): number[] {
  const [from = 0, to = from] = text.split('-').map(Number);
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/**
 * Decodes a text (RFC 7541 §5.2) as latin1, byte by byte. Undefined for what is no such text: padding of a whole byte or
 * with a bit that is not set, or the end-of-string symbol.
 */
export function decodeHuffman(bytes: Uint8Array): string | undefined {
  const text: number[] = [];
  let code = 0;
  let bits = 0;
  for (const byte of bytes) {
    for (let mask = 0x80; mask > 0; mask >>= 1) {
      code = code * 2 + ((byte & mask) === 0 ? 0 : 1);
      bits += 1;
      const symbol = symbolOf(code, bits);
      if (symbol === undefined) continue;
      if (symbol === END_OF_STRING) return undefined;
      text.push(symbol);
      code = 0;
      bits = 0;
    }
  }
  const isPadding = bits < 8 && code === 2 ** bits - 1;
  return isPadding ? Buffer.from(text).toString('latin1') : undefined;
}

function symbolOf(code: number, bits: number): number | undefined {
  const codes = CODES[bits];
  return codes?.symbols[code - codes.first];
}
