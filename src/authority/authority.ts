import {
  describeError,
  SvidgateError,
  untilAborted,
  Watchable,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { AuthorityJournal } from '../datastore/index.ts';
import { createLeafCertificate, generateKeyPair, privateKeyToPkcs8 } from '../pki/index.ts';
import type { SpiffeId, TrustBundle, TrustDomain, X509Svid } from '../spiffe/index.ts';
import { loadSlots, ORGANIZATION, takeStep, type AuthoritySlots, type LoadedSlot } from './authority-slots.ts';
import { BACKDATE_MS, nextStep, nextStepAt } from './rotation-plan.ts';

export interface AuthorityOptions {
  readonly trustDomain: TrustDomain;
  readonly journal: AuthorityJournal;
  /** Life of a CA in milliseconds. */
  readonly caTtlMs: number;
  /** Life of an X.509-SVID in milliseconds where its entry sets none. */
  readonly x509SvidTtlMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Signs for one trust domain. */
export interface Authority {
  /** The domain's bundle: every root that may have signed a living SVID, and the next one before it signs. */
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  /**
   * A new key and an X.509-SVID for it, valid from 10 s ago for `ttlMs`, rounded up to a whole second, never past the
   * end of the CA that signs.
   * Throws `authority_failed`.
   */
  issueX509Svid(request: { readonly spiffeId: SpiffeId; readonly ttlMs?: number | undefined }): Promise<X509Svid>;
  /** Rotates the CA until the signal is aborted. A step that fails is tried again; what was issued goes on. */
  run(signal: AbortSignal): Promise<void>;
}

/** Waits this long after a rotation step that failed. */
const RETRY_MS = 5000;

/** Looks at the clock at least this often, since a machine can sleep and a clock can be set. */
const LONGEST_WAIT_MS = 60_000;

/** Loads the journal and makes the first CA when there is none. Throws `authority_failed` or `config_invalid`. */
export async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const { clock, logger, trustDomain } = options;
  let slots = await advance(await loadSlots(options.journal, trustDomain), options);
  const bundle = new Watchable(toBundle(slots, trustDomain));

  const rotate = async (): Promise<void> => {
    const next = await advance(slots, options);
    if (next === slots) return;
    const changed = next.sequence !== slots.sequence;
    slots = next;
    if (changed) bundle.set(toBundle(next, trustDomain));
  };

  return {
    bundle,
    issueX509Svid: (request) => issue(activeSlot(slots), request, options),
    async run(signal) {
      while (!signal.aborted) {
        let waitMs = RETRY_MS;
        try {
          await rotate();
          waitMs = Math.min(LONGEST_WAIT_MS, Math.max(0, nextStepAt(slots.slots) - clock.now()));
        } catch (error) {
          logger.error({ error_code: 'authority_failed', reason: describeError(error) }, 'ca rotation failed');
        }
        await untilAborted(signal, clock.sleep(waitMs, signal));
      }
    },
  };
}

/** Takes every step that is due. */
async function advance(start: AuthoritySlots, options: AuthorityOptions): Promise<AuthoritySlots> {
  let slots = start;
  for (;;) {
    const step = nextStep(slots.slots, options.clock.now());
    if (step === undefined) break;
    slots = await takeStep(slots, step, options);
    options.logger.info(
      { ca_id: 'id' in step ? step.id : (slots.slots.at(-1)?.id ?? ''), reason: step.kind },
      'ca rotated',
    );
  }
  options.metrics.gauge('svidgate_authority_expiry_seconds', {}, activeSlot(slots).notAfter / 1000);
  return slots;
}

function activeSlot(slots: AuthoritySlots): LoadedSlot {
  const active = slots.slots.find((slot) => slot.state === 'active');
  if (active === undefined) throw new SvidgateError('authority_failed', 'no CA is active');
  return active;
}

async function issue(
  ca: LoadedSlot,
  request: { readonly spiffeId: SpiffeId; readonly ttlMs?: number | undefined },
  options: AuthorityOptions,
): Promise<X509Svid> {
  const now = options.clock.now();
  const notAfter = Math.ceil(Math.min(now + (request.ttlMs ?? options.x509SvidTtlMs), ca.notAfter) / 1000) * 1000;
  const notBefore = Math.floor((now - BACKDATE_MS) / 1000) * 1000;
  try {
    if (notAfter <= now) throw new SvidgateError('authority_failed', `CA ${ca.id} has ended`);
    const { privateKey, publicKey } = generateKeyPair();
    const { certificate, serial } = await createLeafCertificate({
      uri: request.spiffeId,
      organization: ORGANIZATION,
      publicKey,
      ca,
      notBefore,
      notAfter,
    });
    options.metrics.count('svidgate_svids_issued_total', { result: 'issued' });
    options.logger.info(
      { spiffe_id: request.spiffeId, serial, ca_id: ca.id, expires_at: new Date(notAfter).toISOString() },
      'x509-svid issued',
    );
    return {
      spiffeId: request.spiffeId,
      certificateChain: [certificate],
      privateKey: privateKeyToPkcs8(privateKey),
      serial,
      authorityId: ca.id,
      notBefore,
      notAfter,
    };
  } catch (error) {
    options.metrics.count('svidgate_svids_issued_total', { result: 'failed' });
    throw new SvidgateError('authority_failed', `no X.509-SVID could be issued for ${request.spiffeId}`, {
      cause: error,
    });
  }
}

function toBundle(slots: AuthoritySlots, trustDomain: TrustDomain): TrustBundle {
  return {
    trustDomain,
    sequence: slots.sequence,
    x509Authorities: slots.slots.map((slot) => slot.certificate),
    jwtAuthorities: [],
  };
}
