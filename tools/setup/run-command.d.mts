export class CommandError extends Error {
  readonly tail: readonly string[];
}
export interface CommandOptions {
  env: NodeJS.ProcessEnv;
  cwd: string;
  logFile: string;
  groupsDir: string;
  signal: AbortSignal;
  onLine?: (line: string) => void;
}
export function runCommand(command: string, args: readonly string[], options: CommandOptions): Promise<void>;
