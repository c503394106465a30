import { untilAborted, Watchable, type Clock, type Logger, type ReadonlyWatchable } from '../core/index.ts';
import type { SecretContent } from './secret-store.ts';
import type { TicketKeyFile, TicketKeys } from './ticket-key-file.ts';
import { deriveTicketKey, heldPeriods, periodOf, TICKET_KEY_BYTES } from './ticket-keys.ts';

export interface TicketSchedule {
  readonly name: string;
  readonly rotateEveryMs: number;
  readonly keepOld: number;
}

/** The keys of one secret. */
export interface SessionTickets {
  readonly value: ReadonlyWatchable<SecretContent | undefined>;
  /** Rotates until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** Looks at the clock at least this often, since a machine can sleep and a clock can be set. */
const LONGEST_WAIT_MS = 60_000;
/** How soon keys that could not be written are written again. */
const RETRY_MS = 10_000;

/** Keys that follow from a seed. While there is no seed there are none. */
export function seededTickets(
  schedule: TicketSchedule,
  seed: ReadonlyWatchable<Uint8Array | undefined>,
  clock: Clock,
): SessionTickets {
  const value = new Watchable<SecretContent | undefined>(undefined);
  let made: { readonly seed: Uint8Array; readonly period: number } | undefined;
  const update = (): void => {
    const period = periodOf(clock.now(), schedule.rotateEveryMs);
    const present = seed.value;
    if (present === undefined || (made?.seed === present && made.period === period)) return;
    made = { seed: present, period };
    const keys = heldPeriods(period, schedule.keepOld).map((one) => deriveTicketKey(present, schedule.name, one));
    value.set({ kind: 'session_tickets', keys });
  };
  update();
  return {
    value,
    async run(signal) {
      const unsubscribe = seed.subscribe(update);
      try {
        await eachPeriod({ ...schedule, clock }, signal, () => {
          update();
          return Promise.resolve(true);
        });
      } finally {
        unsubscribe();
      }
    },
  };
}

export interface RandomTicketsOptions {
  readonly file: TicketKeyFile;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: (size: number) => Uint8Array;
}

/** Random keys, written down before they are handed out. A file that cannot be written keeps nobody from having keys. */
export async function randomTickets(schedule: TicketSchedule, options: RandomTicketsOptions): Promise<SessionTickets> {
  const tickets = new RandomTickets(schedule, options, await options.file.load());
  await tickets.update();
  return tickets;
}

class RandomTickets implements SessionTickets {
  readonly value = new Watchable<SecretContent | undefined>(undefined);
  readonly #schedule: TicketSchedule;
  readonly #options: RandomTicketsOptions;
  #keys: TicketKeys;
  #period: number | undefined;
  #isSaved = true;
  #isTold = false;

  constructor(schedule: TicketSchedule, options: RandomTicketsOptions, keys: TicketKeys) {
    this.#schedule = schedule;
    this.#options = options;
    this.#keys = keys;
  }

  async run(signal: AbortSignal): Promise<void> {
    await eachPeriod({ ...this.#schedule, ...this.#options }, signal, () => this.update());
  }

  /** Whether all that is handed out is written down. Never rejects. */
  async update(): Promise<boolean> {
    const period = periodOf(this.#options.clock.now(), this.#schedule.rotateEveryMs);
    if (period !== this.#period) this.#turnTo(period);
    if (!this.#isSaved) await this.#save();
    const keys = heldPeriods(period, this.#schedule.keepOld).flatMap((one) => this.#keys.get(one) ?? []);
    const held = this.value.value;
    if (held?.kind !== 'session_tickets' || !isSameList(held.keys, keys)) {
      this.value.set({ kind: 'session_tickets', keys });
    }
    return this.#isSaved;
  }

  /** Makes the keys that are missing and forgets those past their use, so that nobody can open old sessions with them. */
  #turnTo(period: number): void {
    const { keepOld } = this.#schedule;
    const keys = new Map<number, Uint8Array>();
    for (const [one, key] of this.#keys) {
      // Keys beyond the next are there when the clock has been set back. They are the same when their time comes.
      if (one >= period - keepOld && one <= period + 2 + keepOld) keys.set(one, key);
    }
    for (const one of [period, period + 1]) {
      if (!keys.has(one)) keys.set(one, Uint8Array.from(this.#options.random(TICKET_KEY_BYTES)));
    }
    const isChanged = keys.size !== this.#keys.size || [...keys.keys()].some((one) => !this.#keys.has(one));
    this.#keys = keys;
    this.#period = period;
    if (isChanged) this.#isSaved = false;
  }

  async #save(): Promise<void> {
    const { file, logger } = this.#options;
    try {
      await file.save(this.#keys);
      this.#isSaved = true;
      this.#isTold = false;
    } catch (error) {
      if (!this.#isTold) logger.warn({ file: file.path, reason: codeOf(error) }, 'session ticket keys cannot be kept');
      this.#isTold = true;
    }
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}

/** Acts at once and at each turn of a period, and looks at the clock now and then; `act` says whether it is done. */
async function eachPeriod(
  { rotateEveryMs, clock }: { readonly rotateEveryMs: number; readonly clock: Clock },
  signal: AbortSignal,
  act: () => Promise<boolean>,
): Promise<void> {
  while (!signal.aborted) {
    const isDone = await act();
    const now = clock.now();
    const untilNext = (periodOf(now, rotateEveryMs) + 1) * rotateEveryMs - now;
    const waitMs = Math.max(1, Math.min(untilNext, isDone ? LONGEST_WAIT_MS : RETRY_MS));
    await untilAborted(signal, clock.sleep(waitMs, signal));
  }
}

function isSameList(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  return one.length === other.length && one.every((key, index) => key === other[index]);
}
