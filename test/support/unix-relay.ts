import { connect, createServer, type Socket } from 'node:net';

/** A Unix socket that stands before another one, and can be in the way. */
export interface UnixRelay extends AsyncDisposable {
  /** `unix:PATH` of it. */
  readonly address: string;
  /** Ends all connections, and those to come at once. */
  cut(): void;
  /** Holds back what is sent either way; connections stay. */
  stall(): void;
  /** Lets that many bytes of answers pass, then cuts. */
  breakAfter(bytes: number): void;
  /** Goes on as in the beginning. */
  heal(): void;
}

/** What comes to `path` goes to `target`, both file names. */
export async function unixRelay(path: string, target: string): Promise<UnixRelay> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let state: 'open' | 'cut' | 'stalled' = 'open';
  let left = Infinity;
  const cut = (): void => {
    state = 'cut';
    for (const [one, other] of pairs) {
      one.destroy();
      other.destroy();
    }
  };
  const server = createServer((inner) => {
    if (state === 'cut') return void inner.destroy();
    const outer = connect(target);
    const pair = [inner, outer] as const;
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      inner.destroy();
      outer.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    inner.on('data', (bytes) => outer.write(bytes));
    outer.on('data', (bytes) => {
      const passed = bytes.subarray(0, left);
      left -= passed.length;
      inner.write(passed, () => {
        if (left <= 0) cut();
      });
    });
    if (state === 'stalled') for (const socket of pair) socket.pause();
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const setPaused = (isPaused: boolean): void => {
    for (const socket of [...pairs].flat())
      if (isPaused) socket.pause();
      else socket.resume();
  };
  return {
    address: `unix:${path}`,
    cut,
    stall() {
      state = 'stalled';
      setPaused(true);
    },
    breakAfter(bytes) {
      left = bytes;
    },
    heal() {
      state = 'open';
      left = Infinity;
      setPaused(false);
    },
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
