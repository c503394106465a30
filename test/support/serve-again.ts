import { serve, type ServeProcess } from './cli.ts';

/** `svidgate serve`, which can be ended and started again on the same folder. */
export interface ServedAgain extends AsyncDisposable {
  /** Of the process that runs at the moment. */
  readonly pid: number;
  stop(signal: NodeJS.Signals): Promise<void>;
  /** Resolves when it listens. */
  start(): Promise<void>;
}

/** Started. */
export async function serveAgain(folder: string): Promise<ServedAgain> {
  let program: ServeProcess | undefined;
  const start = async (): Promise<void> => {
    program = serve(folder);
    await program.started();
  };
  const end = async (): Promise<void> => await program?.[Symbol.asyncDispose]();
  try {
    await start();
  } catch (error) {
    await end();
    throw error;
  }
  return {
    get pid() {
      return program?.child.pid ?? 0;
    },
    async stop(signal) {
      program?.child.kill(signal);
      await program?.ended;
    },
    start,
    [Symbol.asyncDispose]: end,
  };
}
