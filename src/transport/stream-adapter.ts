import type { ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';

type DuplexCall = ServerDuplexStream<Uint8Array, Uint8Array>;
type WritableCall = DuplexCall | ServerWritableStream<Uint8Array, Uint8Array>;

/** Requests that wait for the handler; beyond it the caller is held back by flow control. */
const MAX_WAITING_REQUESTS = 16;

/**
 * The requests of a stream as an async iterable with backpressure. It ends when the caller half-closes or the signal
 * is aborted. `onTaken` is told the size of each message that the handler takes.
 */
export async function* requestsOf(
  call: DuplexCall,
  signal: AbortSignal,
  onTaken: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, void> {
  const waiting: Uint8Array[] = [];
  let ended = false;
  let wake: (() => void) | undefined;
  const onData = (message: Uint8Array): void => {
    waiting.push(message);
    if (waiting.length >= MAX_WAITING_REQUESTS) call.pause();
    wake?.();
  };
  const onEnd = (): void => {
    ended = true;
    wake?.();
  };
  const onAbort = (): void => wake?.();
  call.on('data', onData).on('end', onEnd).on('close', onEnd);
  signal.addEventListener('abort', onAbort);
  try {
    while (!signal.aborted) {
      const next = waiting.shift();
      if (next !== undefined) {
        if (waiting.length === 0 && call.isPaused()) call.resume();
        onTaken(next.length);
        yield next;
      } else if (ended) {
        return;
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
        wake = undefined;
      }
    }
  } finally {
    call.off('data', onData).off('end', onEnd).off('close', onEnd);
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Sends one message and waits while the caller does not read. Resolves at once when the signal is aborted. It waits for the
 * write itself: by its return value, grpc-js would queue 16 messages, and a reader that comes back would get old ones.
 */
export async function sendOn(call: WritableCall, message: Uint8Array, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      call.off('close', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('close', done);
    signal.addEventListener('abort', done);
    call.write(message, done);
  });
}
