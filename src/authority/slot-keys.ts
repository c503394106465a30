import { describeError, SvidgateError, type Logger } from '../core/index.ts';
import { parseCertificate, spkiOf } from '../pki/index.ts';
import type { KeyManager, SigningKey } from './key-manager.ts';
import type { Slot } from './slot.ts';

/** The keys of the slots, each fetched once from the key manager. */
export class SlotKeys {
  readonly #keys: KeyManager;
  readonly #logger: Logger;
  readonly #found = new Map<string, SigningKey>();
  readonly #lost = new Set<string>();
  readonly #foreign = new Set<string>();

  constructor(keys: KeyManager, logger: Logger) {
    this.#keys = keys;
    this.#logger = logger;
  }

  /** Takes over a key that was just made. */
  adopt(key: SigningKey): void {
    this.#lost.delete(key.id);
    this.#found.set(key.id, key);
  }

  forget(keyId: string): void {
    this.#found.delete(keyId);
    this.#lost.delete(keyId);
  }

  /** Whether the key manager was asked, and has no such key. A key manager that cannot be reached has lost nothing. */
  isLost(slot: Slot): boolean {
    return this.#lost.has(slot.keyId);
  }

  /** Throws `key_manager_failed` when it cannot be reached, `authority_failed` when it is lost or is not the slot's key. */
  async keyOf(slot: Slot): Promise<SigningKey> {
    const found = this.#found.get(slot.keyId) ?? (this.isLost(slot) ? undefined : await this.#keys.find(slot.keyId));
    if (found === undefined) {
      this.#lost.add(slot.keyId);
      throw new SvidgateError('authority_failed', `the key of ${slot.kind} authority ${slot.id} is lost`);
    }
    if (!this.#found.has(slot.keyId)) {
      if (!isKeyOf(slot, found)) {
        this.#lost.add(slot.keyId);
        this.#foreign.add(slot.keyId);
        throw new SvidgateError('authority_failed', foreignKeyMessage(slot));
      }
      this.#found.set(slot.keyId, found);
    }
    return found;
  }

  /** Throws `authority_failed` for a key that is there and is not the slot's: somebody else's signature would be on all that we issue. */
  async check(slots: readonly Slot[]): Promise<void> {
    await this.fetch(slots);
    const foreign = slots.find(({ keyId }) => this.#foreign.has(keyId));
    if (foreign === undefined) return;
    throw new SvidgateError('authority_failed', foreignKeyMessage(foreign));
  }

  /**
   * Fetches the keys that are not here yet, together: a key manager that does not answer is waited for once. What cannot
   * be reached is logged and asked for again by the next call.
   */
  async fetch(slots: readonly Slot[]): Promise<void> {
    await Promise.all(slots.filter((slot) => this.#isUnknown(slot)).map((slot) => this.#tryFetch(slot)));
  }

  /** Whether it is known of each key that it is there, or that it is lost. */
  isComplete(slots: readonly Slot[]): boolean {
    return !slots.some((slot) => this.#isUnknown(slot));
  }

  #isUnknown(slot: Slot): boolean {
    return !this.#found.has(slot.keyId) && !this.isLost(slot);
  }

  async #tryFetch(slot: Slot): Promise<void> {
    try {
      await this.keyOf(slot);
    } catch (error) {
      this.#logger.error(
        { ca_id: slot.id, error_code: SvidgateError.from(error).code, reason: describeError(error) },
        'key of an authority cannot be used',
      );
    }
  }
}

function foreignKeyMessage(slot: Slot): string {
  return `the key of ${slot.kind} authority ${slot.id} is not its own`;
}

function isKeyOf(slot: Slot, key: SigningKey): boolean {
  const expected = slot.kind === 'jwt' ? slot.publicKey : slot.chain[0] && parseCertificate(slot.chain[0]).publicKey;
  return expected !== undefined && Buffer.from(expected).equals(spkiOf(key.publicKey));
}
