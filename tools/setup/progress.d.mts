/** What set-up says while it works. */
export interface Progress {
  say(text: string): void;
  begin(step: string, doing: string): void;
  note(step: string, detail: string): void;
  end(step: string): void;
  close(): void;
}
export function openProgress(options?: {
  write?: (text: string) => void;
  isTerminal?: boolean;
  columns?: number;
}): Progress;
export function formatElapsed(ms: number): string;
export function writeToStderr(text: string): void;
