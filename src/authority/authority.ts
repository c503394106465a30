import {
  derive,
  noAudit,
  SvidgateError,
  supervise,
  Watchable,
  type AuditCaller,
  type AuditLog,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { DocumentStore, IssuedStore } from '../datastore/index.ts';
import type { JwtSvid, TrustBundle, TrustDomain, X509Svid } from '../spiffe/index.ts';
import { AuthoritySlots } from './authority-slots.ts';
import { noAcknowledgements, type BundleAcknowledgements } from './bundle-acknowledgements.ts';
import { intermediatesOf, type SvidKeyType } from './issue-x509-svid.ts';
import { createJournal } from './journal.ts';
import type { KeyManager, KeyType } from './key-manager.ts';
import { RevocationLists } from './revocation-lists.ts';
import { NO_REVOCATIONS } from './revocation-snapshot.ts';
import type { RevocationSnapshot } from './revocations.ts';
import { assertAllowed, type ManualStep } from './rotation-plan.ts';
import { Rotator } from './rotator.ts';
import { SlotKeys } from './slot-keys.ts';
import type { AuthorityKind, AuthoritySlotStatus, Slot } from './slot.ts';
import { createSlotStatus, type SlotStatus } from './slot-status.ts';
import { createSvidIssuer, type JwtSvidRequest, type X509SvidRequest } from './svid-issuer.ts';
import type { UpstreamAuthority } from './upstream-authority.ts';

export interface AuthorityOptions {
  readonly trustDomain: TrustDomain;
  readonly documents: DocumentStore;
  readonly keyManager: KeyManager;
  /** The CA above ours; our CAs sign themselves when it is absent. */
  readonly upstream?: UpstreamAuthority | undefined;
  /** Where it is written down whose a serial is. */
  readonly issued?: IssuedStore | undefined;
  readonly revocations?: ReadonlyWatchable<RevocationSnapshot> | undefined;
  readonly acknowledgements?: BundleAcknowledgements | undefined;
  readonly audit?: AuditLog | undefined;
  /** Life of CAs and JWT keys in milliseconds. */
  readonly caTtlMs: number;
  /** Life of an X.509-SVID in milliseconds where its entry sets none. */
  readonly x509SvidTtlMs: number;
  /** Life of a JWT-SVID in milliseconds where its entry sets none. Default 5 minutes. */
  readonly jwtSvidTtlMs?: number | undefined;
  /** Of CAs. Default ec-p256. */
  readonly keyType?: KeyType | undefined;
  /** Of the keys that sign JWT-SVIDs. Default ec-p256. */
  readonly jwtKeyType?: KeyType | undefined;
  /** Of X.509-SVIDs. Default ec-p256. */
  readonly svidKeyType?: SvidKeyType | undefined;
  /** How long before its end an authority's successor is published. Default half of its life, at most 30 days. */
  readonly prepareBeforeMs?: number | undefined;
  /** How long before its end the successor signs. Default a third of the above, at most 7 days. */
  readonly activateBeforeMs?: number | undefined;
  /** How long activation waits for acknowledgements. Default 30 s. */
  readonly ackTimeoutMs?: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Names one authority. */
export interface AuthorityName {
  readonly kind: AuthorityKind;
  readonly id: string;
}

/** Signs for one trust domain. What an operator does names who, is audited, and is on disk when it returns. */
export interface Authority {
  /** The domain's bundle: everything that may have signed a living SVID, and what signs next before it does. */
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  /** CAs in DER between the bundle's roots and what we sign or signed: who is shown a leaf alone needs them. None when CAs sign themselves. */
  readonly intermediates: ReadonlyWatchable<readonly Uint8Array[]>;
  /** All authorities in the order they were made. */
  readonly slots: ReadonlyWatchable<readonly AuthoritySlotStatus[]>;
  /** Ids of tainted and revoked authorities: what they signed is to be replaced, and tokens of theirs not handed out. */
  readonly tainted: ReadonlyWatchable<ReadonlySet<string>>;
  /**
   * A new key and an X.509-SVID for it, valid from 10 s ago for `ttlMs` (at least 1 s), rounded up to a whole second,
   * never past the end of any CA above it. Throws `invalid_request`, `no_identity` for a revoked SPIFFE ID, else
   * `authority_failed`.
   */
  issueX509Svid(request: X509SvidRequest): Promise<X509Svid>;
  /** A JWT-SVID for at least one audience, from now for `ttlMs` (at least 1 s), never past the key's end. Throws as above. */
  issueJwtSvid(request: JwtSvidRequest): Promise<JwtSvid>;
  /** Makes and publishes the next authority, in the place of one that is prepared already. */
  prepare(kind: AuthorityKind, by?: AuditCaller): Promise<AuthoritySlotStatus>;
  /**
   * Has the prepared authority sign from now on. Returns when it does: connected Envoys have acknowledged it, or the limit
   * has passed; `waitingFor` then names those that did not. It is activated also when the caller does not wait, and after
   * a restart. Throws `not_found`, `conflict`, or `canceled` when the signal is aborted.
   */
  activate(name: AuthorityName, by?: AuditCaller, signal?: AbortSignal): Promise<AuthoritySlotStatus>;
  /** Marks an old authority as not to be trusted much longer: all that it signed is issued anew. Throws `not_found`, `conflict`. */
  taint(name: AuthorityName, by?: AuditCaller): Promise<AuthoritySlotStatus>;
  /** Takes a tainted authority out of the bundle: what it signed is worthless from then on. Throws `not_found`, `conflict`. */
  revoke(name: AuthorityName, by?: AuditCaller): Promise<AuthoritySlotStatus>;
  /** Rotates until the signal is aborted. A step that fails is tried again; what was issued goes on. */
  run(signal: AbortSignal): Promise<void>;
}

const DEFAULT_ACK_TIMEOUT_MS = 30_000;

/**
 * Loads the journal, and makes the first CA and JWT key when there are none. Where there are some it starts also while key
 * manager or upstream are away. Throws `authority_failed`, `config_invalid`, `datastore_failed`, and when there is nothing
 * to start from `key_manager_failed` or `upstream_failed`.
 */
export async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const { slots, keys, rotator, acknowledgements } = await load(options);
  const status = createSlotStatus({ slots, acknowledgements });
  return {
    bundle: slots.bundle,
    intermediates: derive(slots.all, allIntermediates),
    slots: status.value,
    tainted: slots.tainted,
    ...createSvidIssuer({ ...options, slots, keys }),
    ...manualSteps({ slots, rotator, status, clock: options.clock }),
    run: (signal) =>
      supervise(signal, [
        (all) => rotator.run(all),
        (all) => status.run(all),
        async (all) => await options.upstream?.run(all),
      ]),
  };
}

function allIntermediates(slots: readonly Slot[]): readonly Uint8Array[] {
  const found = slots.flatMap((slot) =>
    slot.kind === 'x509' && slot.state !== 'revoked' ? intermediatesOf(slot) : [],
  );
  return [...new Map(found.map((der) => [Buffer.from(der).toString('base64'), der])).values()];
}

interface Parts {
  readonly slots: AuthoritySlots;
  readonly keys: SlotKeys;
  readonly rotator: Rotator;
  readonly acknowledgements: BundleAcknowledgements;
}

async function load(options: AuthorityOptions): Promise<Parts> {
  const { trustDomain, documents, keyManager, logger, caTtlMs, upstream, audit = noAudit } = options;
  const { keyType = 'ec-p256', jwtKeyType = 'ec-p256', acknowledgements = noAcknowledgements } = options;
  const revocations = options.revocations ?? new Watchable(NO_REVOCATIONS);
  const journal = createJournal(documents, trustDomain);
  const loaded = await journal.load();
  // Without an upstream nobody says any more whether its roots are to be trusted.
  const state = upstream === undefined ? { ...loaded, upstreamRoots: [] } : loaded;
  const keys = new SlotKeys(keyManager, logger);
  await keys.check(state.slots.filter(({ state: present }) => present === 'prepared' || present === 'active'));
  const lists = await RevocationLists.load({ documents, keys, revocations, logger });
  const slots = new AuthoritySlots(state, {
    trustDomain,
    journal,
    keyManager,
    keys,
    lists,
    upstream,
    audit,
    clock: options.clock,
    logger,
    ttlMs: { x509: caTtlMs, jwt: caTtlMs },
    keyType: { x509: keyType, jwt: jwtKeyType },
  });
  const { prepareBeforeMs, activateBeforeMs, ackTimeoutMs = DEFAULT_ACK_TIMEOUT_MS } = options;
  const thresholds = { prepareBeforeMs, activateBeforeMs };
  const rotator = new Rotator({
    ...options,
    slots,
    keys,
    thresholds,
    acknowledgements,
    ackTimeoutMs,
    upstream,
    revocations,
  });
  await rotator.start();
  return { slots, keys, rotator, acknowledgements };
}

function manualSteps({
  slots,
  rotator,
  status,
  clock,
}: Omit<Parts, 'keys' | 'acknowledgements'> & {
  readonly status: SlotStatus;
  readonly clock: Clock;
}): Pick<Authority, 'prepare' | 'activate' | 'taint' | 'revoke'> {
  const take = async (step: ManualStep & { readonly of: AuthorityKind }, by: AuditCaller = {}): Promise<void> => {
    await slots.step(() => {
      assertAllowed(slots.of(step.of), step, clock.now());
      if (step.kind === 'revoke' && slots.outlivesRevocation(step.id)) {
        const why = 'the root above it stays in the bundle, so only its upstream can revoke it';
        throw new SvidgateError('conflict', `${step.of} authority ${step.id} is an intermediate: ${why}`);
      }
      return step;
    }, by);
  };
  return {
    async prepare(kind, by = {}) {
      await slots.step(() => ({ kind: 'prepare', of: kind }), by);
      return status.of(slots.of(kind).findLast(({ state }) => state === 'prepared')?.id ?? '');
    },
    async activate({ kind, id }, by, signal = new AbortController().signal) {
      await take({ kind: 'request_activation', id, of: kind }, by);
      for (;;) {
        await rotator.advance(kind);
        const slot = slots.find(id);
        if (slot?.state !== 'prepared') return status.of(id);
        await rotator.sleepFor(slot, signal);
        if (signal.aborted) throw SvidgateError.from(signal.reason);
      }
    },
    async taint({ kind, id }, by) {
      await take({ kind: 'taint', id, of: kind }, by);
      return status.of(id);
    },
    async revoke({ kind, id }, by) {
      await take({ kind: 'revoke', id, of: kind }, by);
      return status.of(id);
    },
  };
}
