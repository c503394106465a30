import { createCipheriv, createDecipheriv, randomBytes, scrypt, type ScryptOptions } from 'node:crypto';
import { promisify } from 'node:util';
import { SvidgateError } from '../core/index.ts';
import { parseTrustDomain, type TrustDomain } from '../spiffe/index.ts';
import { encodeBytes, listOf, objectOf, oneOf, readBytes, readInteger, readText, type Reader } from './read-json.ts';

/** A private key of the authority. */
export interface BackupKey {
  readonly id: string;
  /** Its type in the key manager's words, such as `ec-p256`. */
  readonly type: string;
  /** PKCS#8 in DER. */
  readonly pkcs8: Uint8Array;
}

/** The whole state of a server. */
export interface BackupContent {
  readonly format: 1;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly trustDomain: TrustDomain;
  /** What Datastore.dump gave. */
  readonly datastore: string;
  readonly keys: readonly BackupKey[];
}

/** In UTF-16 units, or bytes of a key. The file is worth guessing for: it holds the keys of the authority. */
export const MIN_PASSPHRASE_LENGTH = 12;

const FORMAT = 1;
const FIRST_LINE = 'svidgate backup\n';
const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const NEWLINE = 0x0a;
/** Far more than a header has. */
const MAX_HEADER_BYTES = 1024;

/** scrypt with 128 MiB, about half a second. The salt is new for each file, and so is the key. */
const SCRYPT = { n: 2 ** 17, r: 8, p: 1 } as const;
/** Of a file that is read: nobody is made to spend more than 1 GiB or some seconds on a header. */
const MAX_SCRYPT_BYTES = 2 ** 30;
const MAX_SCRYPT_P = 4;

/** The second line of the file, in clear; every byte of it is authenticated. */
interface Header {
  readonly format: number;
  /** ISO 8601, for whoever looks for the right file. */
  readonly created_at: string;
  readonly cipher: 'scrypt+aes-256-gcm';
  readonly scrypt: { readonly n: number; readonly r: number; readonly p: number };
  readonly salt: Uint8Array;
  readonly iv: Uint8Array;
  /** Length of what follows the header. */
  readonly bytes: number;
}

/** What stands before the dump in the clear text. */
interface Preamble {
  readonly createdAt: number;
  readonly trustDomain: TrustDomain;
  readonly keys: readonly BackupKey[];
}

/**
 * The backup as one file: a line that says what it is, a header, and the content encrypted under the passphrase (or a key
 * from a file). Throws `invalid_request` for a passphrase that is too short.
 */
export async function sealBackup(content: BackupContent, passphrase: string | Uint8Array): Promise<Uint8Array> {
  if (passphrase.length < MIN_PASSPHRASE_LENGTH)
    throw invalid(`the passphrase of a backup has at least ${MIN_PASSPHRASE_LENGTH} characters`);
  const clear = encodeContent(content);
  const salt = randomBytes(16);
  const iv = randomBytes(IV_BYTES);
  const header = Buffer.from(
    `${FIRST_LINE}${JSON.stringify({
      format: FORMAT,
      created_at: new Date(content.createdAt).toISOString(),
      cipher: 'scrypt+aes-256-gcm',
      scrypt: SCRYPT,
      salt: encodeBytes(salt),
      iv: encodeBytes(iv),
      bytes: clear.length + TAG_BYTES,
    })}\n`,
  );
  const cipher = createCipheriv('aes-256-gcm', await deriveKey(passphrase, SCRYPT, salt), iv);
  cipher.setAAD(header);
  const sealed = [cipher.update(clear), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat([header, ...sealed]);
}

/**
 * Opens what sealBackup made. Throws `invalid_request` when it is no backup, one of a newer svidgate, cut or changed, or
 * when the passphrase is another one.
 */
export async function openBackup(file: Uint8Array, passphrase: string | Uint8Array): Promise<BackupContent> {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const headerEnd = endOfHeader(bytes);
  const header = parseHeader(bytes.subarray(FIRST_LINE.length, headerEnd - 1));
  const sealed = bytes.subarray(headerEnd);
  if (sealed.length < header.bytes)
    throw invalid(`the backup is cut: ${header.bytes - sealed.length} bytes are missing at its end`);
  if (sealed.length > header.bytes) throw invalid('the backup was changed: there is more than its header says');
  const key = await deriveKey(passphrase, header.scrypt, header.salt);
  const decipher = createDecipheriv('aes-256-gcm', key, header.iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(bytes.subarray(0, headerEnd));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const clear = decipher.update(sealed.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
  } catch (error) {
    throw invalid('the backup cannot be opened: the passphrase is wrong, or the file was changed', error);
  }
  return decodeContent(clear);
}

function endOfHeader(bytes: Buffer): number {
  if (!bytes.subarray(0, FIRST_LINE.length).equals(Buffer.from(FIRST_LINE)))
    throw invalid('this is no backup of svidgate');
  const newline = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(NEWLINE, FIRST_LINE.length);
  if (newline === -1) throw invalid('the backup has no header: it is cut or was changed');
  return newline + 1;
}

const readHeader: Reader<Header> = objectOf<Header>(
  {
    format: readInteger,
    created_at: readText,
    cipher: oneOf(['scrypt+aes-256-gcm']),
    scrypt: objectOf<Header['scrypt']>({ n: readInteger, r: readInteger, p: readInteger }, []),
    salt: readBytes,
    iv: readBytes,
    bytes: readInteger,
  },
  [],
);

function parseHeader(text: Buffer): Header {
  let value: unknown;
  try {
    value = JSON.parse(text.toString('utf8'));
  } catch (error) {
    throw invalid('the header of the backup was changed', error);
  }
  const { format } = (typeof value === 'object' && value !== null ? value : {}) as { readonly format?: unknown };
  if (typeof format === 'number' && format > FORMAT)
    throw invalid(`the backup has format ${format} of a newer svidgate, and this one reads ${FORMAT}`);
  try {
    const header = readHeader(value);
    checkHeader(header);
    return header;
  } catch (error) {
    throw invalid('the header of the backup was changed', error);
  }
}

function checkHeader({ format, scrypt: { n, r, p }, salt, iv, bytes }: Header): void {
  if (format !== FORMAT) throw new TypeError('format');
  if (n < 2 || !Number.isInteger(Math.log2(n)) || r < 1 || 128 * n * r > MAX_SCRYPT_BYTES)
    throw new TypeError('scrypt');
  if (p < 1 || p > MAX_SCRYPT_P) throw new TypeError('scrypt');
  if (salt.length < 16 || iv.length !== IV_BYTES || bytes < TAG_BYTES) throw new TypeError('salt, iv or bytes');
}

const deriveScrypt = promisify<string | Uint8Array, Uint8Array, number, ScryptOptions, Buffer>(scrypt);

async function deriveKey(
  passphrase: string | Uint8Array,
  { n, r, p }: Header['scrypt'],
  salt: Uint8Array,
): Promise<Buffer> {
  // The same letters typed on another system can be other code points.
  const secret = typeof passphrase === 'string' ? passphrase.normalize('NFKC') : passphrase;
  return await deriveScrypt(secret, salt, KEY_BYTES, { N: n, r, p, maxmem: 128 * n * r + 2 ** 20 * 32 });
}

/** A line of JSON, then the dump as it is: as a string within JSON it would be escaped and parsed once more. */
function encodeContent({ createdAt, trustDomain, keys, datastore }: BackupContent): Buffer {
  const preamble = { createdAt, trustDomain, keys: keys.map((key) => ({ ...key, pkcs8: encodeBytes(key.pkcs8) })) };
  return Buffer.from(`${JSON.stringify(preamble)}\n${datastore}`);
}

const readPreamble: Reader<Preamble> = objectOf<Preamble>(
  {
    createdAt: readInteger,
    trustDomain: (value) => parseTrustDomain(readText(value)),
    keys: listOf(objectOf<BackupKey>({ id: readText, type: readText, pkcs8: readBytes }, [])),
  },
  [],
);

function decodeContent(clear: Buffer): BackupContent {
  const end = clear.indexOf(NEWLINE);
  try {
    const preamble = readPreamble(JSON.parse(clear.toString('utf8', 0, end)));
    return { format: 1, ...preamble, datastore: clear.toString('utf8', end + 1) };
  } catch {
    // Without a cause: the one of JSON.parse quotes the text, and there are keys in it.
    throw invalid('the backup does not hold what it should');
  }
}

function invalid(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('invalid_request', message, { cause });
}
