import type { Case } from './case.ts';
import { bytesIn, lastBytesIn, mapIn, messageIn, NotAMessage, readFields, textIn, type Fields } from './read-bytes.ts';
import { recognize, type Cast, type Seen } from './reading.ts';

/** What the bytes of a CheckRequest say, by the numbers of its fields; undefined where they are none. */
export function seeBytes(bytes: Buffer, caller: Case['caller'], cast: Cast): Seen | undefined {
  const whole = readFields(bytes);
  if (whole === undefined) return undefined;
  try {
    const attributes = messageIn(whole, 1);
    const source = messageIn(attributes, 1);
    const http = messageIn(messageIn(attributes, 4), 2);
    const headers = mapIn(http, 3);
    const body = lastBytesIn(http, 11);
    const said = {
      extensions: mapIn(attributes, 10),
      method: textIn(http, 2),
      path: textIn(http, 4),
      headers,
      anyHeaders: new Map([...rawHeaders(messageIn(http, 13)), ...headers]),
      body: body.length > 0 ? body : lastBytesIn(http, 12),
      certificate: textIn(source, 5),
      principal: textIn(source, 4),
    };
    return recognize(said, caller, cast);
  } catch (error) {
    if (error instanceof NotAMessage) return undefined;
    throw error;
  }
}

/** With several of a name their values are joined. */
function rawHeaders(map: Fields | undefined): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const bytes of bytesIn(map, 1)) {
    const header = readFields(bytes);
    const name = textIn(header, 1).toLowerCase();
    const plain = textIn(header, 2);
    const value = plain === '' ? lastBytesIn(header, 3).toString('latin1') : plain;
    const before = found.get(name);
    found.set(name, before === undefined ? value : `${before},${value}`);
  }
  return found;
}
