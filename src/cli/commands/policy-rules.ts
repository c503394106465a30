import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { translateRules } from '../../authoring/index.ts';
import { SvidgateError, writeFileAtomic } from '../../core/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { readInput } from '../input-text.ts';
import { formatMistakes } from '../print-mistakes.ts';
import type { OutputFormat, Terminal } from '../terminal.ts';

const MAX_BYTES = 4 * 1024 * 1024;

/** Prints the Rego, or writes all files of the policy. */
export async function showRules(
  file: string,
  { output, out, terminal }: { readonly output: OutputFormat; readonly out?: string; readonly terminal: Terminal },
): Promise<ExitCode> {
  const { policy, mistakes } = await translateRules(await readInput(file, MAX_BYTES), file);
  if (mistakes !== undefined) {
    terminal.err(formatMistakes(file, mistakes, output));
    return EXIT.wrongUsage;
  }
  const files = { ...policy.modules, ...policy.tests };
  if (out !== undefined) await writeFiles(out, files);
  if (output === 'json') terminal.out(`${JSON.stringify({ entrypoint: policy.entrypoint, files })}\n`);
  else if (out === undefined) terminal.out(policy.modules['rules.rego'] ?? '');
  else
    terminal.out(
      Object.keys(files)
        .map((name) => `wrote ${join(out, name)}\n`)
        .join(''),
    );
  return EXIT.done;
}

async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFileAtomic(join(folder, name), text, 0o644);
  } catch (cause) {
    throw new SvidgateError('file_unreadable', `${folder} cannot be written to`, { cause });
  }
}
