import { randomBytes } from 'node:crypto';
import {
  describeError,
  SvidgateError,
  Watchable,
  type AuditCaller,
  type AuditEvent,
  type AuditLog,
  type Clock,
  type Logger,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { TrustBundle, TrustDomain } from '../spiffe/index.ts';
import { createIntermediateSlot, createJwtSlot, createRootSlot } from './create-slot.ts';
import type { Journal, JournalState } from './journal.ts';
import type { KeyManager, KeyType, SigningKey } from './key-manager.ts';
import { publishedCas, publishedRoots, toBundle } from './published-bundle.ts';
import type { RevocationLists } from './revocation-lists.ts';
import { afterStep, type ManualStep, type RotationStep } from './rotation-plan.ts';
import type { SlotKeys } from './slot-keys.ts';
import type { AuthorityKind, Slot } from './slot.ts';
import type { UpstreamAuthority } from './upstream-authority.ts';

export interface AuthoritySlotsOptions {
  readonly trustDomain: TrustDomain;
  readonly journal: Journal;
  readonly keyManager: KeyManager;
  readonly keys: SlotKeys;
  readonly lists: RevocationLists;
  readonly upstream: UpstreamAuthority | undefined;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Life and key type of new authorities. */
  readonly ttlMs: Readonly<Record<AuthorityKind, number>>;
  readonly keyType: Readonly<Record<AuthorityKind, KeyType>>;
}

/** A step on the authorities of one kind. */
export type AuthorityStep = (RotationStep | ManualStep) & { readonly of: AuthorityKind };

/** An upstream that does not answer in this time has failed. */
const MINT_TIMEOUT_MS = 30_000;

/**
 * All authorities of the trust domain, and the bundle made of them. One step at a time: the key is made first, then the
 * step is audited and journalled, and only then does it show. Whatever fails before leaves everything as it was. Keys go
 * after the journal has let them go. So a crash at any point leaves a state that loads, and nothing that signed is
 * forgotten.
 */
export class AuthoritySlots {
  readonly #options: AuthoritySlotsOptions;
  readonly #bundle: Watchable<TrustBundle>;
  readonly #tainted: Watchable<ReadonlySet<string>>;
  readonly #all: Watchable<readonly Slot[]>;
  /** Who asked for an activation, by authority. */
  readonly #requestedBy = new Map<string, AuditCaller>();
  #state: JournalState;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(state: JournalState, options: AuthoritySlotsOptions) {
    this.#state = state;
    this.#options = options;
    this.#bundle = new Watchable(this.#currentBundle());
    this.#tainted = new Watchable(distrusted(state.slots));
    this.#all = new Watchable(state.slots);
  }

  get bundle(): ReadonlyWatchable<TrustBundle> {
    return this.#bundle;
  }

  /** Ids of the authorities whose SVIDs must be replaced. */
  get tainted(): ReadonlyWatchable<ReadonlySet<string>> {
    return this.#tainted;
  }

  /** All of them, and each time they change. */
  get all(): ReadonlyWatchable<readonly Slot[]> {
    return this.#all;
  }

  of(kind: AuthorityKind): readonly Slot[] {
    return this.#state.slots.filter((slot) => slot.kind === kind);
  }

  /** The one that signs, or undefined. */
  active<K extends AuthorityKind>(kind: K): Extract<Slot, { kind: K }> | undefined {
    const isIt = (slot: Slot): slot is Extract<Slot, { kind: K }> => slot.kind === kind && slot.state === 'active';
    return this.#state.slots.find(isIt);
  }

  find(id: string): Slot | undefined {
    return this.#state.slots.find((slot) => slot.id === id);
  }

  /**
   * Takes the step that is chosen when all steps before it are done, and says which. Choosing may throw. Throws
   * `key_manager_failed`, `upstream_failed`, `datastore_failed`, `audit_failed` or `authority_failed`; then nothing has
   * changed.
   */
  async step(choose: () => AuthorityStep | undefined, by?: AuditCaller): Promise<AuthorityStep | undefined> {
    return await this.#alone(async () => {
      const step = choose();
      if (step?.kind === 'prepare') await this.#prepare(step.of, by);
      else if (step !== undefined) await this.#change(step, by);
      return step;
    });
  }

  /** Whether its SVIDs would still verify if it were revoked: an upstream's root vouches for all that is below it. */
  outlivesRevocation(id: string): boolean {
    const slot = this.find(id);
    const others = { ...this.#state, slots: this.#state.slots.filter((other) => other !== slot) };
    const roots = new Set(publishedRoots(others).map((root) => Buffer.from(root).toString('base64')));
    return slot?.kind === 'x509' && slot.roots.some((root) => roots.has(Buffer.from(root).toString('base64')));
  }

  /** Publishes the roots that the upstream has at present, beside those of the authorities. None: it has not answered yet. */
  async publishUpstreamRoots(roots: readonly Uint8Array[]): Promise<void> {
    if (roots.length === 0) return;
    await this.#alone(async () => {
      const next = { ...this.#state, upstreamRoots: roots };
      if (sameBytes(publishedRoots(next), publishedRoots(this.#state))) return;
      await this.#save({ ...next, sequence: this.#state.sequence + 1 });
      this.#options.logger.info({ count: roots.length }, 'upstream roots published');
    });
  }

  /** Brings the revocation lists up to date and publishes them. */
  async refreshLists(): Promise<void> {
    await this.#alone(async () => {
      await this.#options.lists.refresh(publishedCas(this.#state.slots));
      this.#publish();
    });
  }

  /** Removes keys that no authority has. What cannot be removed now is tried again by the next call. */
  async sweepKeys(): Promise<void> {
    await this.#alone(() => this.#sweepKeys());
  }

  async #prepare(kind: AuthorityKind, by: AuditCaller | undefined): Promise<void> {
    const { keyManager, keys, lists, keyType } = this.#options;
    await this.#sweepKeys();
    const before = this.#state;
    const keyId = (await this.#unusedName(kind)) ?? newKeyId(kind);
    // Named before it is made: a key that a crash leaves without an authority is found again and removed.
    await this.#save({ ...before, looseKeys: [...before.looseKeys.filter((id) => id !== keyId), keyId] });
    const key = await keyManager.generate(keyId, keyType[kind]);
    keys.adopt(key);
    const sequence = before.sequence + 1;
    const slot = await this.#createSlot(kind, { key, sequence });
    if (slot.kind === 'x509' && this.#bundle.value.revocationLists !== undefined) {
      await lists.refresh([...publishedCas(before.slots), slot], slot);
    }
    const replaced = before.slots.find((other) => other.kind === kind && other.state === 'prepared');
    const freed = replaced === undefined ? [] : [replaced.keyId];
    await this.#saveAudited([['prepared', slot]], by, {
      ...before,
      sequence,
      slots: [...before.slots.filter((other) => other !== replaced), slot],
      looseKeys: [...before.looseKeys.filter((id) => id !== keyId), ...freed],
    });
    await this.#sweepKeys();
  }

  /** A name that was journalled and has no key: one whose key cannot be removed must not keep others from being made. */
  async #unusedName(kind: AuthorityKind): Promise<string | undefined> {
    for (const id of this.#state.looseKeys) {
      if (id.startsWith(`${kind}-`) && (await this.#options.keyManager.find(id)) === undefined) return id;
    }
    return undefined;
  }

  async #createSlot(kind: AuthorityKind, made: { readonly key: SigningKey; readonly sequence: number }): Promise<Slot> {
    const { trustDomain, clock, upstream, ttlMs } = this.#options;
    const request = { ...made, trustDomain, clock, ttlMs: ttlMs[kind] };
    if (kind === 'jwt') return createJwtSlot(request);
    if (upstream === undefined) return await createRootSlot(request);
    const slot = await createIntermediateSlot(request, upstream, AbortSignal.timeout(MINT_TIMEOUT_MS));
    if (this.find(slot.id) === undefined) return slot;
    const message = `upstream authority ${upstream.kind} gave a CA with the subject key identifier of another one`;
    throw new SvidgateError('upstream_failed', message);
  }

  async #change(step: Exclude<AuthorityStep, { kind: 'prepare' }>, by: AuditCaller | undefined): Promise<void> {
    const before = this.#state;
    const slot = this.find(step.id);
    if (slot === undefined) throw new SvidgateError('not_found', `there is no such authority: ${step.id}`);
    const asked = step.kind === 'activate' ? this.#requestedBy.get(step.id) : by;
    const isDropped = step.kind === 'prune' || step.kind === 'revoke';
    await this.#saveAudited(auditedChanges(step, { slot, slots: before.slots }), asked, {
      ...before,
      slots: afterStep(before.slots, step),
      sequence: isDropped && slot.state !== 'revoked' ? before.sequence + 1 : before.sequence,
      looseKeys: isDropped && slot.state !== 'revoked' ? [...before.looseKeys, slot.keyId] : before.looseKeys,
    });
    if (step.kind === 'request_activation' && by !== undefined) this.#requestedBy.set(step.id, by);
    else this.#requestedBy.delete(step.id);
    if (isDropped) await this.#sweepKeys();
  }

  /** What must be accounted for and cannot be does not happen: throws `audit_failed`. */
  async #saveAudited(changes: AuditedChanges, caller: AuditCaller | undefined, next: JournalState): Promise<void> {
    const { audit, logger } = this.#options;
    for (const change of changes) audit.record({ ...auditEvent(change, caller), result: 'success' });
    try {
      await this.#save(next);
    } catch (error) {
      const failed = { result: 'failure', failure_reason: describeError(error) } as const;
      for (const change of changes) audit.record({ ...auditEvent(change, caller), ...failed });
      throw error;
    }
    for (const [change, slot] of changes) {
      const fields = { ca_id: slot.id, reason: change, expires_at: new Date(slot.notAfter).toISOString() };
      logger.info(fields, slot.kind === 'x509' ? 'ca rotated' : 'jwt key rotated');
    }
  }

  async #save(next: JournalState): Promise<void> {
    await this.#options.journal.save(next);
    this.#state = next;
    this.#publish();
  }

  #publish(): void {
    const bundle = this.#currentBundle();
    const last = this.#bundle.value;
    const sameLists = sameBytes(bundle.revocationLists ?? [], last.revocationLists ?? []);
    if (bundle.sequence !== last.sequence || !sameLists) this.#bundle.set(bundle);
    const tainted = distrusted(this.#state.slots);
    if (tainted.size !== this.#tainted.value.size || [...tainted].some((id) => !this.#tainted.value.has(id)))
      this.#tainted.set(tainted);
    this.#all.set(this.#state.slots);
  }

  #currentBundle(): TrustBundle {
    const { slots, upstreamRoots } = this.#state;
    const lists = upstreamRoots.length === 0 ? this.#options.lists.forBundle(publishedCas(slots)) : undefined;
    return toBundle(this.#state, this.#options.trustDomain, lists);
  }

  async #sweepKeys(): Promise<void> {
    const { keyManager, keys, logger } = this.#options;
    for (const keyId of this.#state.looseKeys) {
      try {
        await keyManager.remove(keyId);
        keys.forget(keyId);
        // Said on disk by the next step; until then it is removed again, which changes nothing.
        this.#state = { ...this.#state, looseKeys: this.#state.looseKeys.filter((id) => id !== keyId) };
      } catch (error) {
        logger.warn({ error_code: 'key_manager_failed', reason: describeError(error) }, 'an old key cannot be removed');
        // Last from now on, so that it keeps no other one from being removed.
        this.#state = { ...this.#state, looseKeys: [...this.#state.looseKeys.filter((id) => id !== keyId), keyId] };
        return;
      }
    }
  }

  /** One after the other, whether those before it failed or not. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const running = this.#queue.then(work);
    this.#queue = running.catch(() => undefined);
    return await running;
  }
}

type AuthorityEvent = Extract<AuditEvent, { event: 'authority_changed' }>;
type AuditedChanges = readonly (readonly [AuthorityEvent['change'], Slot])[];

function auditEvent([change, slot]: AuditedChanges[number], caller: AuditCaller | undefined) {
  return {
    event: 'authority_changed',
    change,
    method: caller === undefined ? 'rotation' : 'admin',
    ...(caller === undefined ? {} : { caller }),
    authority_id: slot.id,
    expires_at: new Date(slot.notAfter).toISOString(),
  } as const;
}

function auditedChanges(
  step: Exclude<AuthorityStep, { kind: 'prepare' }>,
  before: { readonly slot: Slot; readonly slots: readonly Slot[] },
): AuditedChanges {
  const { slot, slots } = before;
  switch (step.kind) {
    case 'activate': {
      const retired = slots.filter((other) => other.kind === slot.kind && other.state === 'active');
      return [['activated', slot], ...retired.map((other) => ['retired', other] as const)];
    }
    case 'request_activation':
      return [];
    case 'taint':
      return [['tainted', slot]];
    case 'revoke':
      return [['revoked', slot]];
    case 'prune':
      return [['pruned', slot]];
  }
}

/** What a tainted or revoked authority signed is not handed out any more. */
function distrusted(slots: readonly Slot[]): ReadonlySet<string> {
  return new Set(slots.filter(({ state }) => state === 'tainted' || state === 'revoked').map(({ id }) => id));
}

function newKeyId(kind: AuthorityKind): string {
  return `${kind}-${randomBytes(16).toString('hex')}`;
}

function sameBytes(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  return one.length === other.length && one.every((item, index) => Buffer.from(item).equals(other[index] ?? item));
}
