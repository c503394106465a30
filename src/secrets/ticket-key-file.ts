import { hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, SvidgateError, writeFileAtomic, type Logger } from '../core/index.ts';
import { TICKET_KEY_BYTES } from './ticket-keys.ts';

/** Keys by period. */
export type TicketKeys = ReadonlyMap<number, Uint8Array>;

/** Random keys of one secret on the disk, so that a restart does not end every session. */
export interface TicketKeyFile {
  readonly path: string;
  /** None when there is no file, or one that is damaged or of other periods; that is logged. Never rejects. */
  load(): Promise<TicketKeys>;
  /** Replaces all keys, so that those left out are gone. Throws what the file system throws. */
  save(keys: TicketKeys): Promise<void>;
}

interface Document {
  readonly name: string;
  readonly rotateEveryMs: number;
  readonly keys: readonly { readonly period: number; readonly key: string }[];
}

const MAX_BYTES = 64 * 1024;

/** What stands in the folder of keys, beside what writeFileAtomic leaves when the process dies in it. */
export const TICKET_KEY_FILE_NAME = /^[A-Za-z0-9._-]{1,64}-[0-9a-f]{16}\.json$/;

/** The name of a secret's file. Different names of secrets have different ones. */
export function ticketKeyFileName(name: string): string {
  return `${name.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 64)}-${hash('sha256', name).slice(0, 16)}.json`;
}

export function ticketKeyFile(
  folder: string,
  secret: { readonly name: string; readonly rotateEveryMs: number },
  logger: Logger,
): TicketKeyFile {
  const path = join(folder, ticketKeyFileName(secret.name));
  return {
    path,
    async load() {
      try {
        const text = await read(path);
        return text === undefined ? new Map() : parse(text, secret);
      } catch (error) {
        // Nothing of the file: an error of JSON.parse would quote it.
        logger.warn({ file: path, reason: describeError(error) }, 'kept session ticket keys not used');
        return new Map();
      }
    },
    async save(keys) {
      const document: Document = {
        ...secret,
        keys: [...keys].map(([period, key]) => ({ period, key: Buffer.from(key).toString('base64') })),
      };
      await writeFileAtomic(path, `${JSON.stringify(document)}\n`, 0o600);
    },
  };
}

async function read(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const found = await file.stat();
    if (!found.isFile() || found.size > MAX_BYTES) throw unusable('it is no file of ours');
    return await file.readFile('utf8');
  } catch (error) {
    if (error instanceof SvidgateError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new SvidgateError('file_unreadable', 'it cannot be read', { cause: error });
  }
}

function parse(text: string, secret: { readonly name: string; readonly rotateEveryMs: number }): TicketKeys {
  const document = parseJson(text);
  if (!isDocument(document)) throw unusable('it is damaged');
  if (document.name !== secret.name) throw unusable('it is of another secret');
  if (document.rotateEveryMs !== secret.rotateEveryMs) throw unusable('rotate_every was another');
  const keys = new Map(document.keys.map(({ period, key }) => [period, new Uint8Array(Buffer.from(key, 'base64'))]));
  if ([...keys.values()].some((key) => key.length !== TICKET_KEY_BYTES)) throw unusable('it is damaged');
  return keys;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isDocument(value: unknown): value is Document {
  if (typeof value !== 'object' || value === null) return false;
  const { keys } = value as Partial<Document>;
  return Array.isArray(keys) && keys.every(isEntry);
}

function isEntry(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { period, key } = value as Record<string, unknown>;
  return Number.isSafeInteger(period) && typeof key === 'string';
}

function unusable(message: string): SvidgateError {
  return new SvidgateError('file_unreadable', message);
}
