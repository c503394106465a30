import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SvidgateError, writeFileAtomic } from '../core/index.ts';
import type { DataDirectory } from './data-directory.ts';
import { openPrivateFolder } from './private-folder.ts';

/** One CA of the journal. Its private key stands in a file of its own, named after the id. */
export interface AuthorityRecord {
  /** Hexadecimal subject key identifier. */
  readonly id: string;
  readonly state: 'prepared' | 'active' | 'old';
  /** Root certificate in DER. */
  readonly certificate: Uint8Array;
}

export interface AuthorityState {
  readonly trustDomain: string;
  /** The bundle's sequence number. */
  readonly sequence: number;
  readonly records: readonly AuthorityRecord[];
}

/**
 * The authority's memory across restarts: `authority/journal.json` and `authority/keys/ID.pem`, each replaced in one
 * step and 0600. A key is written before the journal names it and removed after the journal has let it go, so a crash
 * at any point leaves a state that loads.
 */
export interface AuthorityJournal {
  /** The stored state, or undefined when there is none. Throws `authority_failed` when it cannot be read. */
  load(): Promise<AuthorityState | undefined>;
  save(state: AuthorityState): Promise<void>;
  /** PEM text of a private key. Throws `authority_failed` when it is missing. */
  loadKey(id: string): Promise<string>;
  saveKey(id: string, pem: string): Promise<void>;
  /** Removes the keys that the list does not name. */
  keepKeys(ids: readonly string[]): Promise<void>;
}

interface JournalFile {
  readonly format: 1;
  readonly trust_domain: string;
  readonly sequence: number;
  readonly authorities: readonly { readonly id: string; readonly state: string; readonly certificate: string }[];
}

/**
 * Opens the journal. Throws `file_unreadable` when its folder belongs to another user: who owns it can put a CA of their
 * own there, whatever the modes.
 */
export async function openAuthorityJournal(directory: DataDirectory): Promise<AuthorityJournal> {
  const folder = join(directory.path, 'authority');
  const keys = join(folder, 'keys');
  const journal = join(folder, 'journal.json');
  await openPrivateFolder(folder);
  await openPrivateFolder(keys);
  const keyFile = (id: string): string => join(keys, `${id}.pem`);
  return {
    async load() {
      let text: string;
      try {
        text = await readFile(journal, 'utf8');
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw new SvidgateError('authority_failed', `${journal} cannot be read`, { cause: error });
      }
      return parseJournal(text, journal);
    },
    async save(state) {
      await writeFileAtomic(journal, formatJournal(state), 0o600);
    },
    async loadKey(id) {
      try {
        return await readFile(keyFile(id), 'utf8');
      } catch (error) {
        throw new SvidgateError('authority_failed', `the key of CA ${id} cannot be read`, { cause: error });
      }
    },
    async saveKey(id, pem) {
      await writeFileAtomic(keyFile(id), pem, 0o600);
    },
    async keepKeys(ids) {
      const wanted = new Set(ids.map((id) => `${id}.pem`));
      const stale = (await readdir(keys)).filter((name) => !wanted.has(name));
      await Promise.all(stale.map((name) => rm(join(keys, name), { force: true })));
    },
  };
}

function formatJournal(state: AuthorityState): string {
  const file: JournalFile = {
    format: 1,
    trust_domain: state.trustDomain,
    sequence: state.sequence,
    authorities: state.records.map((record) => ({
      id: record.id,
      state: record.state,
      certificate: Buffer.from(record.certificate).toString('base64'),
    })),
  };
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

function parseJournal(text: string, path: string): AuthorityState {
  const damaged = (cause?: unknown): SvidgateError =>
    new SvidgateError(
      'authority_failed',
      `${path} is damaged: restore it from a backup, or move it away for a new CA`,
      {
        cause,
      },
    );
  try {
    return readState(JSON.parse(text) as Partial<JournalFile>);
  } catch (error) {
    throw damaged(error);
  }
}

function readState(file: Partial<JournalFile>): AuthorityState {
  const { format, trust_domain: trustDomain, sequence, authorities } = file;
  if (format !== 1 || typeof trustDomain !== 'string' || !Array.isArray(authorities))
    throw new TypeError('unknown form');
  if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence)) throw new TypeError('no sequence');
  const records = (authorities as JournalFile['authorities']).map(({ id, state, certificate }): AuthorityRecord => {
    if (!/^[0-9a-f]{2,128}$/.test(id) || !isState(state)) throw new TypeError('unknown form of an authority');
    return { id, state, certificate: Buffer.from(certificate, 'base64') };
  });
  return { trustDomain, sequence, records };
}

function isState(state: string): state is AuthorityRecord['state'] {
  return state === 'prepared' || state === 'active' || state === 'old';
}
