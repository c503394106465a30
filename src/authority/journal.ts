import { SvidgateError } from '../core/index.ts';
import type { DocumentStore } from '../datastore/index.ts';
import { parseCertificate, publicKeyToJwk } from '../pki/index.ts';
import type { TrustDomain } from '../spiffe/index.ts';
import { KEY_TYPES } from '../pki/index.ts';
import type { AuthorityState, Slot } from './slot.ts';

/** What survives a restart. Replaced as a whole. */
export interface JournalState {
  /** The bundle's sequence number. */
  readonly sequence: number;
  /** In the order they were made. */
  readonly slots: readonly Slot[];
  /** Roots of the upstream that are published beside those of the slots. DER. */
  readonly upstreamRoots: readonly Uint8Array[];
  /** Names of keys that no slot has: they are being made, or are to be removed. Other keys are never touched. */
  readonly looseKeys: readonly string[];
}

export interface Journal {
  /** Throws `authority_failed` when it is damaged, `config_invalid` when it is another trust domain's, `datastore_failed`. */
  load(): Promise<JournalState>;
  /** On return it is on disk. Throws `datastore_failed`. */
  save(state: JournalState): Promise<void>;
}

/** The name of the journal's document. */
export const JOURNAL_DOCUMENT = 'authority';
const FORMAT = 1;

export const EMPTY_JOURNAL: JournalState = { sequence: 0, slots: [], upstreamRoots: [], looseKeys: [] };

/** The authority's memory: one document, so that a crash finds the state before a step or after it. Without private keys. */
export function createJournal(documents: DocumentStore, trustDomain: TrustDomain): Journal {
  return {
    async load() {
      const text = await documents.read(JOURNAL_DOCUMENT);
      if (text === undefined) return EMPTY_JOURNAL;
      const document = parseJournal(text);
      if (document.trustDomain !== trustDomain) {
        throw new SvidgateError(
          'config_invalid',
          `data_dir holds the authority of trust domain ${document.trustDomain}, but trust_domain is ${trustDomain}`,
        );
      }
      return document.state;
    },
    async save(state) {
      await documents.write(JOURNAL_DOCUMENT, formatJournal(state, trustDomain));
    },
  };
}

type Stored<T> = T extends Uint8Array
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Stored<Item>[]
    : T extends object
      ? { readonly [Name in keyof T]: Stored<T[Name]> }
      : T;

interface JournalDocument extends Stored<JournalState> {
  readonly format: number;
  readonly trustDomain: string;
}

const toText = (der: Uint8Array): string => Buffer.from(der).toString('base64');
const toBytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));

/** The text that is stored. */
export function formatJournal(state: JournalState, trustDomain: string): string {
  const document: JournalDocument = {
    format: FORMAT,
    trustDomain,
    sequence: state.sequence,
    slots: state.slots.map((slot) =>
      slot.kind === 'x509'
        ? { ...slot, chain: slot.chain.map(toText), roots: slot.roots.map(toText) }
        : { ...slot, publicKey: toText(slot.publicKey) },
    ),
    upstreamRoots: state.upstreamRoots.map(toText),
    looseKeys: state.looseKeys,
  };
  return JSON.stringify(document);
}

/** The inverse. Throws `authority_failed` when it is damaged. */
export function parseJournal(text: string): { readonly trustDomain: string; readonly state: JournalState } {
  try {
    const document = JSON.parse(text) as JournalDocument;
    if (document.format !== FORMAT) throw new TypeError(`it has format ${document.format}, and we know ${FORMAT}`);
    check(typeof document.trustDomain === 'string', 'trustDomain');
    check(Number.isSafeInteger(document.sequence) && document.sequence >= 0, 'sequence');
    const state = {
      sequence: document.sequence,
      slots: document.slots.map(readSlot),
      upstreamRoots: document.upstreamRoots.map(readCertificate),
      looseKeys: document.looseKeys.map((keyId) => (check(isKeyId(keyId), 'looseKeys'), keyId)),
    };
    checkSlots(state.slots);
    return { trustDomain: document.trustDomain, state };
  } catch (cause) {
    throw new SvidgateError('authority_failed', 'the journal of the authority is damaged: restore it from a backup', {
      cause,
    });
  }
}

const STATES: readonly AuthorityState[] = ['prepared', 'active', 'old', 'tainted', 'revoked'];

function readSlot(stored: Stored<Slot>): Slot {
  const { id, state, keyId, keyType, notBefore, notAfter, publishedSequence, publishedAt } = stored;
  check(typeof id === 'string' && /^[A-Za-z0-9]{1,128}$/.test(id), 'id');
  check(STATES.includes(state), 'state');
  check(isKeyId(keyId), 'keyId');
  check(KEY_TYPES.includes(keyType), 'keyType');
  for (const number of [notBefore, notAfter, publishedSequence, publishedAt])
    check(Number.isSafeInteger(number), 'times');
  check(typeof stored.activationRequested === 'boolean', 'activationRequested');
  if (stored.kind === 'x509') {
    check(stored.chain.length > 0 && stored.roots.length > 0, 'chain');
    return { ...stored, chain: stored.chain.map(readCertificate), roots: stored.roots.map(readCertificate) };
  }
  check(stored.kind === 'jwt', 'kind');
  const publicKey = toBytes(stored.publicKey);
  publicKeyToJwk(publicKey); // throws unless it is a key
  return { ...stored, publicKey };
}

function readCertificate(text: string): Uint8Array {
  return parseCertificate(toBytes(text)).der;
}

function checkSlots(slots: readonly Slot[]): void {
  check(new Set(slots.map(({ id }) => id)).size === slots.length, 'slots');
  for (const kind of ['x509', 'jwt'] as const) {
    for (const state of ['prepared', 'active'] as const) {
      check(slots.filter((slot) => slot.kind === kind && slot.state === state).length <= 1, 'slots');
    }
  }
}

function isKeyId(text: unknown): boolean {
  return typeof text === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(text);
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new TypeError(`${what} is of an unknown form`);
}
