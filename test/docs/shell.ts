import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export interface ShellResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs text with bash, ending at the first command that fails. */
export async function runShell(
  script: string,
  options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<ShellResult> {
  const child = spawn('bash', ['-eu', '-o', 'pipefail', '-c', script], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (stderr += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** Why a page's commands cannot be run here: programs that set-up does not bring. False when all are there. */
export function missingPrograms(...names: readonly string[]): string | false {
  const folders = (process.env['PATH'] ?? '').split(':');
  const missing = names.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  return missing.length > 0 && `needs ${missing.join(' and ')}: found none`;
}

/** One `$ command` of a console block, with what the page says it prints. */
export interface ConsoleStep {
  readonly command: string;
  readonly output: string;
}

/** Throws when text stands before the first command. */
export function consoleSteps(text: string): readonly ConsoleStep[] {
  const [before = '', ...steps] = text.split(/^\$ /m);
  if (before.trim() !== '') throw new Error(`a console block begins with a command, not with ${before}`);
  return steps.map((step) => {
    const [command = '', ...output] = step.split('\n');
    return { command, output: output.join('\n') };
  });
}

/** Without what terminals and Markdown do not show: blanks at the ends of lines, empty lines at the end. */
export function visibleText(text: string): string {
  return text.replaceAll(/[ \t]+$/gm, '').trimEnd();
}
