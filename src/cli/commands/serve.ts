import { readConfig } from '../../config/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { formatMistakes } from '../print-mistakes.ts';
import type { OutputFormat, Terminal } from '../terminal.ts';

export interface ServeOptions {
  readonly file: string;
  readonly output: OutputFormat;
  readonly terminal: Terminal;
}

const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * Runs the server until a signal or a failure; a second signal, a second later or more, ends
 * the process at once with 1.
 * Throws the SvidgateError of a part that cannot start or go on.
 */
export async function serve({ file, output, terminal }: ServeOptions): Promise<ExitCode> {
  const signals = catchStopSignals();
  try {
    const parsed = await readConfig(file);
    if (parsed.mistakes !== undefined) {
      terminal.err(formatMistakes(file, parsed.mistakes, output));
      return EXIT.wrongUsage;
    }
    const { startServer } = await import('../../server/index.ts');
    const server = await startServer(parsed.value, { signal: signals.stop });
    await Promise.race([server.finished, signals.first.then((name) => server.stop(name))]);
    return EXIT.done;
  } catch (error) {
    if (signals.stop.aborted) return EXIT.done;
    throw error;
  } finally {
    signals.release();
  }
}

interface StopSignals {
  /** The name of the first signal. */
  readonly first: Promise<string>;
  /** Aborted by the first signal. */
  readonly stop: AbortSignal;
  readonly release: () => void;
}

/** One Ctrl-C or one `timeout` can reach the process twice, by its id and by its group; that counts once. */
const SAME_SIGNAL_MS = 1000;

/** From the start on, so that a signal during it leaves nothing behind. */
function catchStopSignals(): StopSignals {
  const { promise, resolve } = Promise.withResolvers<string>();
  const stop = new AbortController();
  let firstAt: number | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    const now = performance.now();
    if (firstAt !== undefined && now - firstAt > SAME_SIGNAL_MS) process.exit(EXIT.failed);
    firstAt ??= now;
    resolve(name);
    stop.abort();
  };
  for (const name of STOP_SIGNALS) process.on(name, onSignal);
  return {
    first: promise,
    stop: stop.signal,
    release: () => {
      for (const name of STOP_SIGNALS) process.off(name, onSignal);
    },
  };
}
