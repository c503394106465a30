/** Where a command writes. Tests collect it. */
export interface Terminal {
  /** The result of the command. */
  out(text: string): void;
  /** What went wrong, and progress. */
  err(text: string): void;
}

export type OutputFormat = 'text' | 'json';

/** The terminal of this process. */
export const processTerminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};
