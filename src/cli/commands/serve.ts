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
 * Runs the server until a signal or a failure; a second signal ends the process at once with 1.
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
    const server = await startServer(parsed.value);
    await Promise.race([server.finished, signals.first.then((name) => server.stop(name))]);
    return EXIT.done;
  } finally {
    signals.release();
  }
}

/** From the start on, so that a signal during it ends the server as soon as it stands, with nothing left behind. */
function catchStopSignals(): { readonly first: Promise<string>; readonly release: () => void } {
  const { promise, resolve } = Promise.withResolvers<string>();
  let count = 0;
  const onSignal = (name: NodeJS.Signals): void => {
    count += 1;
    if (count > 1) process.exit(EXIT.failed);
    resolve(name);
  };
  for (const name of STOP_SIGNALS) process.on(name, onSignal);
  return {
    first: promise,
    release: () => {
      for (const name of STOP_SIGNALS) process.off(name, onSignal);
    },
  };
}
