import { createHash } from 'node:crypto';
import { describeError, SvidgateError, type Logger, type ReadonlyWatchable } from '../core/index.ts';
import type { DocumentStore } from '../datastore/index.ts';
import { createRevocationList, encodeRevokedCertificate } from '../pki/index.ts';
import type { Revocation, RevocationTarget } from '../spiffe/index.ts';
import type { RevocationSnapshot } from './revocations.ts';
import type { SlotKeys } from './slot-keys.ts';
import type { X509Slot } from './slot.ts';

export interface RevocationListsOptions {
  readonly documents: DocumentStore;
  readonly keys: SlotKeys;
  readonly revocations: ReadonlyWatchable<RevocationSnapshot>;
  readonly logger: Logger;
}

interface SignedList {
  readonly der: Uint8Array;
  /** Of the entries in it, in hexadecimal. */
  readonly digest: string;
}

interface ListsDocument {
  readonly format: number;
  readonly number: number;
  readonly lists: readonly { readonly authorityId: string; readonly digest: string; readonly der: string }[];
}

/** The name of the document that holds signed lists. */
export const LISTS_DOCUMENT = 'authority-crls';
const FORMAT = 1;
const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * One list for each CA that signed itself and is in the bundle, while at least one serial is revoked; none before that,
 * and none at all when a CA of the bundle has none, since a verifier that checks lists refuses everybody under a CA whose
 * list it does not hold. A list is in force for as long as its CA: it is replaced on each change of the revoked serials, and
 * never outdated, which would end in the same. Signed lists and their number survive restarts.
 */
export class RevocationLists {
  readonly #options: RevocationListsOptions;
  #number: number;
  #lists: ReadonlyMap<string, SignedList>;
  /** What the lists were last found right for. */
  #settled: { readonly snapshot: RevocationSnapshot; readonly cas: string } | undefined;

  private constructor(options: RevocationListsOptions, document: ListsDocument) {
    this.#options = options;
    this.#number = document.number;
    this.#lists = new Map(
      document.lists.map(({ authorityId, digest, der }) => [authorityId, { digest, der: Buffer.from(der, 'base64') }]),
    );
  }

  /** Throws `authority_failed` when what was stored is damaged. */
  static async load(options: RevocationListsOptions): Promise<RevocationLists> {
    return new RevocationLists(options, readDocument(await options.documents.read(LISTS_DOCUMENT)));
  }

  /** The lists for a bundle with these CAs, in their order, or undefined when there must be none. */
  forBundle(slots: readonly X509Slot[]): readonly Uint8Array[] | undefined {
    if (slots.length === 0 || !this.#isNeeded()) return undefined;
    const lists = slots.map((slot) => (slot.upstream === undefined ? this.#lists.get(slot.id)?.der : undefined));
    return lists.every((list) => list !== undefined) ? lists : undefined;
  }

  /**
   * Signs the lists that are missing or no longer right. One that cannot be signed stays as it was, or stays away; that is
   * logged, and the next call tries again. Throws only for `required`: a new CA must not enter a bundle that has lists
   * without one of its own.
   */
  async refresh(slots: readonly X509Slot[], required?: X509Slot): Promise<void> {
    const snapshot = this.#options.revocations.value;
    const cas = slots.map(({ id }) => id).join();
    if (this.#settled?.snapshot === snapshot && this.#settled.cas === cas) return;
    const lists = new Map<string, SignedList>();
    let isSettled = true;
    for (const slot of this.#isNeeded() ? slots.filter(({ upstream }) => upstream === undefined) : []) {
      const last = this.#lists.get(slot.id);
      const entries = entriesOf(slot, snapshot);
      const digest = digestOf(entries);
      const list = last?.digest === digest ? last : await this.#sign(slot, { entries, digest, required });
      isSettled &&= list !== undefined;
      if (list !== undefined) lists.set(slot.id, list);
      else if (last !== undefined) lists.set(slot.id, last);
    }
    if (!isSame(lists, this.#lists)) await this.#save(lists);
    this.#lists = lists;
    this.#settled = isSettled ? { snapshot, cas } : undefined;
  }

  #isNeeded(): boolean {
    return this.#options.revocations.value.all.some(({ target }) => isListed(target));
  }

  async #sign(
    slot: X509Slot,
    wanted: {
      readonly entries: readonly Uint8Array[];
      readonly digest: string;
      readonly required: X509Slot | undefined;
    },
  ): Promise<SignedList | undefined> {
    const [certificate = new Uint8Array()] = slot.chain;
    try {
      const signer = await this.#options.keys.keyOf(slot);
      this.#number += 1;
      const der = await createRevocationList({
        ca: { certificate, signer },
        number: this.#number,
        // Whoever takes the CA takes the list, however far behind its clock is.
        thisUpdate: slot.notBefore,
        nextUpdate: slot.notAfter + DAY_MS,
        entries: wanted.entries,
      });
      this.#options.logger.info({ ca_id: slot.id, count: wanted.entries.length }, 'revocation list signed');
      return { der, digest: wanted.digest };
    } catch (error) {
      if (wanted.required === slot) throw error;
      this.#options.logger.error(
        { ca_id: slot.id, error_code: SvidgateError.from(error).code, reason: describeError(error) },
        'revocation list cannot be signed; the gate alone enforces',
      );
      return undefined;
    }
  }

  async #save(lists: ReadonlyMap<string, SignedList>): Promise<void> {
    const document: ListsDocument = {
      format: FORMAT,
      number: this.#number,
      lists: [...lists].map(([authorityId, { digest, der }]) => ({
        authorityId,
        digest,
        der: Buffer.from(der).toString('base64'),
      })),
    };
    await this.#options.documents.write(LISTS_DOCUMENT, JSON.stringify(document));
  }
}

/** A serial whose CA we do not know stands in the lists of all. */
function entriesOf(slot: X509Slot, snapshot: RevocationSnapshot): readonly Uint8Array[] {
  return snapshot.all.flatMap((revocation) => {
    const { target } = revocation;
    return isListed(target) && (target.authorityId ?? slot.id) === slot.id ? [encoded(revocation)] : [];
  });
}

function isListed(target: RevocationTarget): target is RevocationTarget & { readonly kind: 'serial' } {
  return target.kind === 'serial' && target.holderEnded !== true;
}

function isSame(one: ReadonlyMap<string, SignedList>, other: ReadonlyMap<string, SignedList>): boolean {
  return one.size === other.size && [...one].every(([id, list]) => other.get(id) === list);
}

/** Encoded once, so that a change costs no more than what is new. */
const encodings = new WeakMap<Revocation, Uint8Array>();

function encoded(revocation: Revocation): Uint8Array {
  const found = encodings.get(revocation);
  if (found !== undefined || revocation.target.kind !== 'serial') return found ?? new Uint8Array();
  const { target, revokedAt, reason } = revocation;
  const der = encodeRevokedCertificate({ serial: target.serial, revokedAt, reason });
  encodings.set(revocation, der);
  return der;
}

function digestOf(entries: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) hash.update(entry);
  return hash.digest('hex');
}

/** Both as one document: lists of either, the newer where both have one, and a number that never goes back. Throws `authority_failed`. */
export function mergeLists(restored: string, present: string): string {
  const [old, here] = [readDocument(restored), readDocument(present)];
  const lists = new Map([...old.lists, ...here.lists].map((list) => [list.authorityId, list]));
  const merged: ListsDocument = {
    format: FORMAT,
    number: Math.max(old.number, here.number),
    lists: [...lists.values()],
  };
  return JSON.stringify(merged);
}

function readDocument(text: string | undefined): ListsDocument {
  if (text === undefined) return { format: FORMAT, number: 0, lists: [] };
  try {
    const document = JSON.parse(text) as ListsDocument;
    if (document.format !== FORMAT || !Number.isSafeInteger(document.number)) throw new TypeError('unknown form');
    for (const { authorityId, digest, der } of document.lists) {
      if ([authorityId, digest, der].some((part) => typeof part !== 'string')) throw new TypeError('unknown form');
    }
    return document;
  } catch (cause) {
    throw new SvidgateError('authority_failed', 'the stored revocation lists are damaged: restore a backup', { cause });
  }
}
