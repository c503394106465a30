import { Buffer } from 'node:buffer';
import { SvidgateError } from '../../core/index.ts';

/** A file of an archive. */
export interface ArchivedFile {
  /** As the archive has it. */
  readonly path: string;
  /** The same for whatever it begins with: `/a/b` and `./a/b` are `a/b`. */
  readonly name: string;
  readonly content: Uint8Array;
}

export interface TarLimits {
  readonly maxFiles: number;
  /** Of a path, in bytes. */
  readonly maxPathBytes: number;
}

const BLOCK_BYTES = 512;
/** Extended headers hold a path and times. */
const MAX_EXTENSION_BYTES = 64 * 1024;
const MAX_RECORDS = 64;
/** Folders and headers for all files, beyond a header and an extended one for each file. */
const MORE_HEADERS = 16;
const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true });
const LATIN1 = new TextDecoder('latin1');

const LINKS: Readonly<Record<string, string>> = { '1': 'a hard link', '2': 'a symbolic link' };

/**
 * The files of a tar archive: plain ustar, with the long names of POSIX and of GNU. Folders are passed over. Throws
 * `policy_invalid` for all else: links, devices, sparse files, a name twice or outside of the archive, an end that is missing
 * or has something behind it.
 */
export function readTar(bytes: Uint8Array, limits: TarLimits): readonly ArchivedFile[] {
  const files = new Map<string, ArchivedFile>();
  const maxHeaders = 2 * limits.maxFiles + MORE_HEADERS;
  let extension: Extension | undefined;
  let at = 0;
  for (let headers = 1; ; headers += 1) {
    const header = blockAt(bytes, at);
    if (isZero(header)) {
      checkEnd(bytes, at);
      return [...files.values()];
    }
    if (headers > maxHeaders) throw refused(`it holds more than ${maxHeaders} headers`);
    checkSum(header);
    const type = String.fromCodePoint(header[156] ?? 0);
    const size = extension?.size ?? octal(header.subarray(124, 136), 'size');
    const start = at + BLOCK_BYTES;
    if (start + size > bytes.byteLength) throw refused('it is cut off');
    const content = bytes.subarray(start, start + size);
    at = start + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
    if (type === 'g') {
      checkGlobal(content);
      continue;
    }
    if (type === 'x' || type === 'L') {
      if (extension !== undefined) throw refused('a file has two extended headers');
      extension = extend(type, content);
      continue;
    }
    const path = extension?.path ?? nameOf(header);
    extension = undefined;
    if (type === '5' || (type === '\0' && path.endsWith('/'))) {
      if (size !== 0) throw refused(`the folder ${shown(path)} has a content`);
      continue;
    }
    if (type !== '0' && type !== '\0') throw refused(`${shown(path)} is ${LINKS[type] ?? 'not a plain file'}`);
    const name = checkPath(path, limits);
    if (files.has(name)) throw refused(`${shown(name)} is there twice`);
    files.set(name, { path, name, content });
    if (files.size > limits.maxFiles) throw refused(`it holds more than ${limits.maxFiles} files`);
  }
}

/** What an extended header says about the file that follows. */
interface Extension {
  readonly path?: string;
  readonly size?: number;
}

function blockAt(bytes: Uint8Array, at: number): Uint8Array {
  const block = bytes.subarray(at, at + BLOCK_BYTES);
  if (block.byteLength < BLOCK_BYTES) throw refused('it is cut off');
  return block;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Two blocks of zeros, and zeros only behind them. */
function checkEnd(bytes: Uint8Array, at: number): void {
  if (at + 2 * BLOCK_BYTES > bytes.byteLength) throw refused('its end is missing');
  if (!isZero(bytes.subarray(at))) throw refused('something stands behind its end');
}

/** Of all bytes of the header, with blanks in the place of the sum itself. */
function checkSum(header: Uint8Array): void {
  const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0);
  if (sum !== octal(header.subarray(148, 156), 'checksum')) throw refused('a header is damaged');
}

function octal(field: Uint8Array, what: string): number {
  const text = LATIN1.decode(field)
    .replace(/^ +/, '')
    .replace(/[ \0]+$/, '');
  if (!/^[0-7]{1,11}$/.test(text)) throw refused(`a ${what} is not a number`);
  return Number.parseInt(text, 8);
}

function nameOf(header: Uint8Array): string {
  const name = textOf(header.subarray(0, 100));
  // GNU's own form has times in the place of the prefix.
  const isPosix = LATIN1.decode(header.subarray(257, 263)) === 'ustar\0';
  const prefix = isPosix ? textOf(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

function textOf(field: Uint8Array): string {
  const end = field.indexOf(0);
  return decode(end === -1 ? field : field.subarray(0, end));
}

function decode(bytes: Uint8Array): string {
  try {
    return STRICT_UTF8.decode(bytes);
  } catch {
    throw refused('a path is not UTF-8');
  }
}

function extend(type: 'x' | 'L', content: Uint8Array): Extension {
  if (content.byteLength > MAX_EXTENSION_BYTES) throw refused('an extended header is too long');
  if (type === 'L') return { path: textOf(content) };
  const records = readRecords(content);
  const path = records.get('path');
  const size = records.get('size');
  if ([...records.keys()].some((key) => key.startsWith('GNU.sparse.'))) throw refused('it holds a sparse file');
  if (size !== undefined && !/^\d{1,12}$/.test(size)) throw refused('a size is not a number');
  return { ...(path === undefined ? {} : { path }), ...(size === undefined ? {} : { size: Number(size) }) };
}

/** It would hold for all files; `git archive` puts a comment there. */
function checkGlobal(content: Uint8Array): void {
  if (content.byteLength > MAX_EXTENSION_BYTES) throw refused('an extended header is too long');
  const keys = [...readRecords(content).keys()].filter((key) => key !== 'comment');
  if (keys.length > 0) throw refused(`a header for all files sets ${shown(keys.join(', '))}`);
}

/** `LENGTH KEY=VALUE\n` each, the length being that of all of it. */
function readRecords(content: Uint8Array): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  let count = 0;
  for (let at = 0; at < content.byteLength;) {
    count += 1;
    if (count > MAX_RECORDS) throw refused(`an extended header has more than ${MAX_RECORDS} records`);
    const digits = /^(\d{1,6}) /.exec(LATIN1.decode(content.subarray(at, at + 8)))?.[1];
    const length = Number(digits ?? 0);
    const record = content.subarray(at, at + length);
    if (digits === undefined || length <= digits.length + 2 || record.byteLength < length || record.at(-1) !== 10) {
      throw refused('an extended header is damaged');
    }
    const [, key, value] = /^([^=]+)=([^]*)$/.exec(decode(record.subarray(digits.length + 1, -1))) ?? [];
    if (key === undefined || value === undefined) throw refused('an extended header is damaged');
    records.set(key, value);
    at += length;
  }
  return records;
}

/** The name of a file below the archive's root. */
function checkPath(path: string, { maxPathBytes }: TarLimits): string {
  if (Buffer.byteLength(path) > maxPathBytes) throw refused(`a path is longer than ${maxPathBytes} bytes`);
  const name = path.replace(/^(?:\.?\/)/, '');
  const isPlain = name.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..');
  // eslint-disable-next-line no-control-regex
  if (!isPlain || /[\u0000-\u001F\u007F\\]/.test(name)) throw refused(`the path ${shown(path)} is not one`);
  return name;
}

function shown(path: string): string {
  return JSON.stringify(path.slice(0, 200));
}

function refused(reason: string): SvidgateError {
  return new SvidgateError('policy_invalid', `the bundle's archive is refused: ${reason}`);
}
