import {
  createBackoff,
  describeError,
  SvidgateError,
  untilAborted,
  type Backoff,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { AuthoritySlots } from './authority-slots.ts';
import {
  createAcknowledgementGate,
  type AcknowledgementGate,
  type BundleAcknowledgements,
} from './bundle-acknowledgements.ts';
import { activateAt, nextStep, nextStepAt, type PlannedSlot, type RotationThresholds } from './rotation-plan.ts';
import type { SlotKeys } from './slot-keys.ts';
import type { AuthorityKind, Slot } from './slot.ts';
import type { UpstreamAuthority } from './upstream-authority.ts';

export interface RotatorOptions {
  readonly slots: AuthoritySlots;
  readonly keys: SlotKeys;
  readonly thresholds: RotationThresholds;
  readonly acknowledgements: BundleAcknowledgements;
  readonly ackTimeoutMs: number;
  readonly upstream: UpstreamAuthority | undefined;
  /** Each change of it is signed into revocation lists. */
  readonly revocations: ReadonlyWatchable<unknown>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const KINDS: readonly AuthorityKind[] = ['x509', 'jwt'];

/** Waits after a step that failed, from the first to the longest. */
const RETRY_BASE_MS = 5000;
const RETRY_MAX_MS = 60_000;

/** Looks at the clock at least this often, since a machine can sleep and a clock can be set. */
const LONGEST_WAIT_MS = 60_000;

/** Takes the steps that time, upstream, revocations and acknowledgements ask for. */
export class Rotator {
  readonly #options: RotatorOptions;
  readonly #gate: AcknowledgementGate;
  readonly #retries: Readonly<Record<AuthorityKind, { readonly backoff: Backoff; at: number }>>;
  readonly #warned = new Set<string>();

  constructor(options: RotatorOptions) {
    this.#options = options;
    this.#gate = createAcknowledgementGate({ ...options, timeoutMs: options.ackTimeoutMs });
    const retry = (): { readonly backoff: Backoff; at: number } => ({
      backoff: createBackoff({ baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS }),
      at: 0,
    });
    this.#retries = { x509: retry(), jwt: retry() };
  }

  /** Takes every step of this kind that is due. Throws what the first one that fails throws. */
  async advance(kind: AuthorityKind): Promise<void> {
    while ((await this.#options.slots.step(() => this.#next(kind))) !== undefined);
    this.#observe(kind);
  }

  /**
   * What cannot wait until `run`: the first authorities, and successors of those that cannot sign any more. Throws only when
   * there are no first ones. The rest comes later, so that a start does not wait for an upstream that does not answer.
   */
  async start(): Promise<void> {
    const { slots, keys, clock } = this.#options;
    for (const kind of KINDS) {
      const active = slots.active(kind);
      const signs = active !== undefined && clock.now() >= active.notBefore && clock.now() < active.notAfter;
      if (slots.of(kind).length === 0) await this.advance(kind);
      else if (!signs || keys.isLost(active)) await this.#tryAdvance(kind);
      else this.#observe(kind);
    }
    // A key manager that does not answer is not asked for more.
    if (!keys.isComplete(slots.all.value.filter(({ state }) => state === 'prepared' || state === 'active'))) return;
    await this.#attempt('revocation lists cannot be kept', () => slots.refreshLists());
    await this.#attempt('old keys cannot be removed', () => slots.sweepKeys());
  }

  /** Everything that is due, and how many milliseconds to sleep then. What fails is logged, and does not hold up the rest. */
  async pass(): Promise<number> {
    const { slots, clock, upstream, thresholds } = this.#options;
    const waits: number[] = [LONGEST_WAIT_MS];
    for (const kind of KINDS) waits.push(await this.#tryAdvance(kind));
    if (upstream !== undefined) {
      await this.#attempt('upstream roots cannot be published', () => slots.publishUpstreamRoots(upstream.roots.value));
    }
    await this.#attempt('revocation lists cannot be kept', () => slots.refreshLists());
    await this.#attempt('old keys cannot be removed', () => slots.sweepKeys());
    const now = clock.now();
    for (const kind of KINDS) waits.push(nextStepAt(slots.of(kind), thresholds, now) - now);
    return Math.max(0, Math.min(...waits));
  }

  /** Sleeps until the prepared authority may be activated, or something has changed that could let it. */
  async sleepFor(slot: Slot, signal: AbortSignal): Promise<void> {
    const { clock, acknowledgements, slots } = this.#options;
    const wake = new AbortController();
    const unsubscribe = [acknowledgements.changed, slots.all].map((source) => source.subscribe(() => wake.abort()));
    try {
      const pause = AbortSignal.any([signal, wake.signal]);
      await untilAborted(pause, clock.sleep(this.#gate.waitMs(slot), pause));
    } finally {
      for (const stop of unsubscribe) stop();
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, acknowledgements, upstream, revocations } = this.#options;
    let wake = new AbortController();
    const onChange = (): void => wake.abort();
    const sources = [acknowledgements.changed, revocations, ...(upstream === undefined ? [] : [upstream.roots])];
    const unsubscribe = sources.map((source) => source.subscribe(onChange));
    try {
      while (!signal.aborted) {
        wake = new AbortController(); // before the pass: what changes during it is seen by the next one
        const waitMs = await this.pass();
        const pause = AbortSignal.any([signal, wake.signal]);
        await untilAborted(pause, clock.sleep(waitMs, pause));
      }
    } finally {
      for (const stop of unsubscribe) stop();
    }
  }

  #next(kind: AuthorityKind): ReturnType<Parameters<AuthoritySlots['step']>[0]> {
    const { slots, keys, clock, thresholds } = this.#options;
    const step = nextStep(slots.of(kind), {
      now: clock.now(),
      thresholds,
      isKeyLost: ({ id }) => this.#with(id, (slot) => keys.isLost(slot)),
      mustWait: ({ id }) => this.#with(id, (slot) => this.#gate.waitMs(slot) > 0),
    });
    return step === undefined ? undefined : { ...step, of: kind };
  }

  #with(id: string, ask: (slot: Slot) => boolean): boolean {
    const slot = this.#options.slots.find(id);
    return slot !== undefined && ask(slot);
  }

  /** How many milliseconds to wait for what this kind waits for. */
  async #tryAdvance(kind: AuthorityKind): Promise<number> {
    const { clock, keys, logger, slots } = this.#options;
    const retry = this.#retries[kind];
    // An acknowledgement that comes while a step is failing does not have it tried again at once.
    const left = retry.at - clock.now();
    if (left > 0 && left <= RETRY_MAX_MS) return left;
    const used = slots.of(kind).filter(isInUse);
    try {
      await keys.fetch(used);
      const hasKeys = keys.isComplete(used);
      await this.advance(kind);
      if (!hasKeys) return this.#retryLater(kind);
      retry.backoff.reset();
      retry.at = 0;
      const prepared = slots.of(kind).find(({ state }) => state === 'prepared');
      return prepared !== undefined && this.#isTurnOf(prepared) ? this.#gate.waitMs(prepared) : LONGEST_WAIT_MS;
    } catch (error) {
      const fields = { error_code: SvidgateError.from(error).code, reason: describeError(error) };
      logger.error(fields, kind === 'x509' ? 'ca rotation failed' : 'jwt key rotation failed');
      this.#observe(kind);
      return this.#retryLater(kind);
    }
  }

  #retryLater(kind: AuthorityKind): number {
    const retry = this.#retries[kind];
    const waitMs = retry.backoff.next();
    retry.at = this.#options.clock.now() + waitMs;
    return waitMs;
  }

  #isTurnOf(prepared: PlannedSlot): boolean {
    const { slots, clock, thresholds } = this.#options;
    const active = slots.of(prepared.kind).find(({ state }) => state === 'active');
    return prepared.activationRequested || active === undefined || clock.now() >= activateAt(active, thresholds);
  }

  /** The end of what signs, as a metric; and a warning when half of the time has passed in which it should have been replaced. */
  #observe(kind: AuthorityKind): void {
    const { slots, clock, thresholds, logger, metrics } = this.#options;
    const active = slots.of(kind).find(({ state }) => state === 'active');
    if (active === undefined) return;
    metrics.gauge('svidgate_authority_expiry_seconds', { kind }, active.notAfter / 1000);
    const activateMs = active.notAfter - activateAt(active, thresholds);
    if (clock.now() < active.notAfter - activateMs / 2 || this.#warned.has(active.id)) return;
    this.#warned.add(active.id);
    const fields = { ca_id: active.id, expires_at: new Date(active.notAfter).toISOString() };
    logger.warn(fields, kind === 'x509' ? 'ca ends soon and is not replaced' : 'jwt key ends soon and is not replaced');
  }

  async #attempt(failure: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.logger.error({ error_code: SvidgateError.from(error).code, reason: describeError(error) }, failure);
    }
  }
}

/** Whether its key is still needed. */
function isInUse({ state }: Slot): boolean {
  return state !== 'revoked';
}
