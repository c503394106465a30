import { SvidgateError, type Clock } from '../core/index.ts';

export interface TimeLimit {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limitMs: number;
  /** Subject of the error's message, such as "compiling Rego". */
  readonly what: string;
}

/** Waits for the work, but no longer than the limit (`deadline_exceeded`) or the signal (its reason). Ends nothing. */
export async function withinLimit<T>(work: Promise<T>, limit: TimeLimit): Promise<T> {
  const { clock, signal, limitMs, what } = limit;
  const timer = new AbortController();
  const expiry = clock.sleep(limitMs, AbortSignal.any([signal, timer.signal])).then(() => {
    throw new SvidgateError('deadline_exceeded', `${what} took longer than ${limitMs} ms`);
  });
  try {
    return await Promise.race([work, expiry]);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    timer.abort();
  }
}
