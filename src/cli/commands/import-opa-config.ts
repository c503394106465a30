import { importOpaConfig, type ImportDifference, type ImportedAuthz } from '../../config/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { readInput } from '../input-text.ts';
import { formatMistakes } from '../print-mistakes.ts';
import type { OutputFormat, Terminal } from '../terminal.ts';
import { visibleText } from '../visible-text.ts';

const MAX_CONFIG_BYTES = 1024 * 1024;

/** Prints the section for svidgate.yaml, and beside it, as errors are, what is different. */
export async function importOpa(
  file: string,
  { output, terminal }: { readonly output: OutputFormat; readonly terminal: Terminal },
): Promise<ExitCode> {
  const imported = importOpaConfig(await readInput(file, MAX_CONFIG_BYTES), file);
  if (imported.mistakes !== undefined) {
    terminal.err(formatMistakes(file, imported.mistakes, output));
    return EXIT.wrongUsage;
  }
  const { authz, differences } = imported;
  if (output === 'json') {
    terminal.out(`${JSON.stringify({ authz, differences })}\n`);
  } else {
    terminal.out(render(authz));
    terminal.err(differences.map((difference) => formatDifference(file, difference)).join(''));
  }
  return EXIT.done;
}

function formatDifference(file: string, { key, line, text }: ImportDifference): string {
  return key === '' ? `- ${text}\n` : `- ${visibleText(file)}:${line}: ${visibleText(key)} ${text}\n`;
}

/** Texts in quotes where YAML would read something else. */
function render({ policies, ...keys }: ImportedAuthz): string {
  const scalar = (value: string | number | boolean): string =>
    typeof value === 'string' && !/^[A-Za-z0-9./][A-Za-z0-9._-]*[:/][A-Za-z0-9./:_-]*$/.test(value)
      ? JSON.stringify(value)
      : String(value);
  const { path, entrypoint } = policies.default;
  return [
    'authz:',
    ...Object.entries(keys).map(([key, value]) => `  ${key}: ${scalar(value)}`),
    '  policies:',
    `    default: { path: ${scalar(path)}, entrypoint: ${scalar(entrypoint)} }`,
    '',
  ].join('\n');
}
